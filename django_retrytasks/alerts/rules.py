"""Alert rules: what to alert about besides final failures.

Each looks at its rows by seeks and capped counts in an index, so a sweep costs the same however
many there are. Times are the database's.
"""

from __future__ import annotations

import json
import logging
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from datetime import datetime, timedelta
from functools import partial
from typing import Any, ClassVar

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_retrytasks import conf
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import FailureGroup, FailureGroupQuerySet, Status, Task, TaskQuerySet
from django_retrytasks.models.tasks import NAME_LENGTH, QUEUE_NAME_LENGTH
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values import checked
from django_retrytasks.values.texts import number_text

logger = logging.getLogger("django_retrytasks")
NAMESPACE = uuid.UUID("104f3fdc-8e0c-4fc7-9fd9-81aba1863bf2")
# The latest so many Tasks of a status are counted, and none that ended before.
COUNT_LIMIT = 10_000

as_name = partial(checked.as_text, least=1, most=NAME_LENGTH)
as_queue_name = partial(checked.as_text, least=1, most=QUEUE_NAME_LENGTH)


def breached() -> Iterator[FailureGroup]:
    """Yield a group, not yet stored, for each breach of a rule in ``ALERT_RULES``.

    A rule that cannot be looked at is logged, and the others are looked at all the same.
    """
    for index, entry in enumerate(conf.get().ALERT_RULES):
        try:
            found = list(Rule.from_entry(entry).breaches())
        except Exception:
            logger.exception('RETRYTASKS["ALERT_RULES"][%d] could not be looked at', index)
        else:
            yield from found


def check(entry: Any) -> None:
    """Check an entry of ``ALERT_RULES``, and that the function it names is a task's.

    Raises:
        TypeError, ValueError: as :meth:`Rule.from_entry`.
        RetryTasksError: it is none.
    """
    if name := asdict(Rule.from_entry(entry)).get("name"):
        resolve(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(ABC):
    """One entry of ``ALERT_RULES``, its values checked when it is made; durations in seconds."""

    rule: ClassVar[str]
    """What the entry calls it."""

    @classmethod
    def from_entry(cls, entry: Any) -> Rule:
        """Return the rule that an entry describes.

        Raises:
            TypeError: it is no dict, a key is unknown or missing, or a value of a wrong type.
            ValueError: there is no such rule, or a value is out of its range.
        """
        options = dict(checked.as_mapping("a rule", entry))
        kind = _kind_of(options.pop("rule", None))
        known = {f.name: f.default for f in fields(kind)}
        if unknown := [str(key) for key in options if key not in known]:
            hint = checked.nearest(unknown[0], known)
            raise TypeError(f'{kind.rule} has no "{unknown[0]}". {hint}')
        required = [name for name, default in known.items() if default is MISSING]
        if missing := [name for name in required if name not in options]:
            raise TypeError(f'{kind.rule} needs "{missing[0]}"')
        return kind(**options)

    def __post_init__(self) -> None:
        checked.check_options(self)

    @abstractmethod
    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group, not yet stored, for each thing that breaks this rule now."""

    def looks_back(self) -> Mapping[Status, float]:
        """Return for how many seconds finished Tasks must be kept for it, by status."""
        return {}

    def _breach(self, message: str, *, name: str = "", of: str = "") -> FailureGroup:
        """Return the group of a breach; ``of`` is what broke the rule, where that may vary.

        The limits are part of its identity, so what its message says of them stays true.
        """
        identity = json.dumps([self.rule, asdict(self), of])
        return FailureGroup(
            fingerprint=uuid.uuid5(NAMESPACE, identity),
            kind=FailureGroup.Kind.RULE,
            name=name,
            message=message,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OldestDue(Rule):
    """A queue's oldest due Task has been due for longer than ``over``."""

    rule = "oldest_due"
    over: float = checked.option(checked.as_positive_seconds)
    queue_name: str | None = checked.option(checked.or_none(as_queue_name), None)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group for each queue that is late."""
        late = {name for (name, _), lag in survey().lags.items() if lag > self.over}
        for queue_name in sorted(late & {self.queue_name} if self.queue_name else late):
            text = _('The oldest due Task of queue "%(queue)s" has waited for more than %(over)s s')
            values = {"queue": queue_name, "over": number_text(self.over)}
            yield self._breach(text % values, of=queue_name)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRate(Rule):
    """More than the share ``over`` of the Tasks that finished ``within`` the last seconds failed.

    Where 10,000 Tasks or more failed, or succeeded (of the function ``name``, if given), it looks
    at the time that the latest 10,000 took. Silent while fewer than ``least`` finished.
    """

    rule = "failure_rate"
    over: float = checked.option(checked.as_share)
    within: float = checked.option(checked.as_positive_seconds, 600.0)
    least: int = checked.option(partial(checked.as_count, least=1, most=COUNT_LIMIT), 20)
    name: str | None = checked.option(checked.or_none(as_name), None)
    queue_name: str | None = checked.option(checked.or_none(as_queue_name), None)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group if it is so."""
        failed, succeeded = self._counts()
        finished = failed + succeeded
        if finished >= self.least and failed / finished > self.over:
            text = _("More than %(share)s %% of the Tasks that finished within %(within)s s failed")
            values = {"share": number_text(self.over * 100), "within": number_text(self.within)}
            yield self._breach(text % values + self._scope(), name=self.name or "")

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for both."""
        return dict.fromkeys((Status.FAILED, Status.SUCCEEDED), self.within)

    def _counts(self) -> tuple[int, int]:
        """Return how many Tasks failed and how many succeeded, in one and the same time."""
        # No index has the names of what failed.
        failed = _finished(Status.FAILED, self.within)
        succeeded = _finished(Status.SUCCEEDED, self.within, **_given(name=self.name))
        starts = filter(None, map(_start_of_latest, (failed, succeeded)))
        chosen = _given(
            name=self.name, queue_name=self.queue_name, finished_at__gte=max(starts, default=None)
        )
        return failed.filter(**chosen).count(), succeeded.filter(**chosen).count()

    def _scope(self) -> str:
        queue = self.queue_name and _('queue "%s"') % self.queue_name
        scope = ", ".join(filter(None, (self.name, queue)))
        return f": {scope}" if scope else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupGrowth(Rule):
    """More than ``over`` Tasks of one failure group failed ``within`` the last seconds.

    Counted among the latest 10,000 that failed. Muted and resolved groups are left out.
    """

    rule = "group_growth"
    over: int = checked.option(partial(checked.as_count, most=COUNT_LIMIT - 1))
    within: float = checked.option(checked.as_positive_seconds, 60.0)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group for each failure group that grew so fast."""
        latest = _finished(Status.FAILED, self.within).order_by("-finished_at")[:COUNT_LIMIT]
        counts = Counter(latest.values_list("failure_group", flat=True))
        grown = [pk for pk, count in counts.items() if count > self.over]
        for group in _audible(grown):
            text = ngettext(
                "More than %(over)s Task failed within %(within)s s: %(group)s",
                "More than %(over)s Tasks failed within %(within)s s: %(group)s",
                self.over,
            )
            values = {"over": self.over, "within": number_text(self.within), "group": group}
            yield self._breach(text % values, name=group.name, of=str(group.pk))

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for the failed ones."""
        return {Status.FAILED: self.within}


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence(Rule):
    """No Task of the function ``name`` has succeeded ``within`` the last seconds, or ever."""

    rule = "silence"
    name: str = checked.option(as_name)
    within: float = checked.option(checked.as_positive_seconds)

    def breaches(self) -> Iterator[FailureGroup]:
        """Yield a group if it is so."""
        if not _finished(Status.SUCCEEDED, self.within, name=self.name).exists():
            text = _("No Task of %(name)s has succeeded within %(within)s s")
            values = {"name": self.name, "within": number_text(self.within)}
            yield self._breach(text % values, name=self.name)

    def looks_back(self) -> Mapping[Status, float]:
        """Return ``within`` for the succeeded ones."""
        return {Status.SUCCEEDED: self.within}


RULES: dict[str, type[Rule]] = {
    kind.rule: kind for kind in (OldestDue, FailureRate, GroupGrowth, Silence)
}


def _kind_of(rule: object) -> type[Rule]:
    found = RULES.get(rule) if isinstance(rule, str) else None
    if found is None:
        hint = checked.nearest(str(rule or ""), RULES)
        raise ValueError(f'"rule" names no rule: {rule!r}. {hint}')
    return found


def _finished(status: Status, within: float, **values: str) -> TaskQuerySet:
    """Return the Tasks, internal ones aside, that reached this status within the last seconds."""
    start = DatabaseNow() - timedelta(seconds=within)
    # Not internal=False: Django before 6.1 writes NOT internal, and SQLite then uses no index.
    return Task.objects.filter(
        internal__in=(False,), status=status, finished_at__gt=start, **values
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _start_of_latest(finished: TaskQuerySet) -> datetime | None:
    """Return when the first of the latest 10,000 of these ended; None if there are fewer."""
    moments = finished.order_by("-finished_at").values_list("finished_at", flat=True)
    return moments[COUNT_LIMIT - 1 : COUNT_LIMIT].first()


def _audible(pks: list[uuid.UUID]) -> FailureGroupQuerySet:
    """Return groups but for those that are resolved, or muted still."""
    return FailureGroup.objects.audible().filter(pk__in=pks).order_by("pk")
