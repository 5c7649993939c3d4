"""Parts of every row's page: fields, and the history of operators' actions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext

from . import words

ACTIONS_SHOWN = 20
NOTHING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value; ``help`` explains it."""

    label: str
    value: Any
    help: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An operator's action, in the words of the admin's log, with its reason."""

    at: str
    by: str
    what: str


def history_of(row: models.Model) -> list[Action]:
    """Return the logged actions on a row, the latest first, in one query."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk)
    )
    latest = entries.select_related("user").order_by("-action_time", "-pk")[:ACTIONS_SHOWN]
    return [
        Action(
            at=words.time_tag(entry.action_time),
            by=str(entry.user),
            what=_translated(entry.get_change_message()) or entry.get_action_flag_display(),
        )
        for entry in latest
    ]


def _translated(message: str) -> str:
    """Translate the verb, stored in English, of a message of the log."""
    verb = re.split("[:(]", message, maxsplit=1)[0].rstrip()
    return gettext(verb) + message.removeprefix(verb) if verb else message


def fields_of(row: models.Model, names: Sequence[str]) -> list[Fact]:
    """Return fields of a row, each with its help text."""
    return [_field(row, name) for name in names]


def _field(row: models.Model, name: str) -> Fact:
    field: Any = row._meta.get_field(name)
    display = getattr(row, f"get_{name}_display", None)
    value = display() if display else getattr(row, name)
    return Fact(label=capfirst(field.verbose_name), value=_shown(value), help=field.help_text)


def _shown(value: Any) -> Any:
    if value in (None, "", {}):
        return NOTHING
    match value:
        case bool():
            return gettext("Yes") if value else gettext("No")
        case datetime():
            return words.time_tag(value)
        case dict():
            return ", ".join(f"{key}={item}" for key, item in sorted(value.items()))
    return value
