"""An operator's verbs, in one table.

The command, the admin's actions, buttons, pages and permission methods, and operations derive from
`VERBS`. A new verb needs an entry here, an act in `lifecycle`, and its name and permission in
`models`, whose migrations hold both.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext_lazy

from django_retrytasks import lifecycle
from django_retrytasks.models import Operation, Status
from django_retrytasks.values.checked import nearest

Option = Literal["arguments", "canary", "countdown"]
"""Inputs of a verb besides a reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """An operator's change of Tasks: one, several, or a selection."""

    name: Operation.VerbName
    act: lifecycle.Act[...]
    meaning: Any
    """What it does, on the page that asks for confirmation."""
    report: Any
    """What it has done, with a "count"."""
    asks: tuple[Option, ...] = ()
    is_signed: bool = False
    """Whether its act stores who did it, and why."""

    @property
    def slug(self) -> str:
        """Return its name in methods and URLs."""
        return self.name.lower()

    def signature(self, by: str, reason: str) -> dict[str, str]:
        """Return who does it and why, as options of its act; empty if it is not signed."""
        return {"by": by, "reason": reason} if self.is_signed else {}

    @property
    def label(self) -> Any:
        """Return its name for people, translated lazily."""
        return self.name.label

    @property
    def permission(self) -> str:
        """Return the permission that it needs."""
        return permission_for(self.name)


def permission_for(name: str) -> str:
    """Return the permission that a verb needs."""
    return f"retrytasks.{name.lower()}_task"


def find(name: str) -> Verb:
    """Return the verb of a name.

    Raises:
        ValueError: the name is unknown here; a later version may have it.
    """
    if name not in VERBS:
        raise ValueError(f"there is no verb {name!r}. {nearest(name, VERBS)}")
    return VERBS[name]


def refused(verb: Verb, ids: Iterable[uuid.UUID]) -> Mapping[uuid.UUID, uuid.UUID]:
    """Return who holds the unique keys of the Tasks that a verb has therefore not changed."""
    return lifecycle.holders_of(ids) if Status.FAILED in verb.act.changes else {}


def _by_name(*verbs: Verb) -> Mapping[str, Verb]:
    return {verb.name: verb for verb in verbs}


VERBS: Final = _by_name(
    Verb(
        name=Operation.VerbName.REDRIVE,
        act=lifecycle.redrive,
        meaning=_("Failed Tasks run again: they keep ids and attempts, and get all retries anew."),
        report=ngettext_lazy("%(count)d Task re-driven.", "%(count)d Tasks re-driven.", "count"),
        asks=("arguments", "canary"),
    ),
    Verb(
        name=Operation.VerbName.RUN_NOW,
        act=lifecycle.run_now,
        meaning=_(
            "Waiting Tasks become due at once, whatever their run_after. A pause or an open "
            "breaker still makes them wait."
        ),
        report=ngettext_lazy("%(count)d Task made due.", "%(count)d Tasks made due.", "count"),
        asks=("canary",),
    ),
    Verb(
        name=Operation.VerbName.SNOOZE,
        act=lifecycle.snooze,
        meaning=_("Waiting Tasks wait longer; no retry is spent."),
        report=ngettext_lazy("%(count)d Task snoozed.", "%(count)d Tasks snoozed.", "count"),
        asks=("countdown",),
    ),
    Verb(
        name=Operation.VerbName.DISCARD,
        act=lifecycle.discard,
        meaning=_("Waiting and failed Tasks are dropped."),
        report=ngettext_lazy("%(count)d Task discarded.", "%(count)d Tasks discarded.", "count"),
    ),
    Verb(
        name=Operation.VerbName.CANCEL,
        act=lifecycle.cancel,
        meaning=_(
            "Waiting and running Tasks end. A running function is interrupted at the next "
            "heartbeat of its worker, unless its task has interruptible=False; the function's "
            "outcome is refused."
        ),
        report=ngettext_lazy("%(count)d Task cancelled.", "%(count)d Tasks cancelled.", "count"),
        is_signed=True,
    ),
)
