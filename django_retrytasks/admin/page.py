"""The page of one Task: what happens next, its attempts, its arguments, its fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks import codec, redaction
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.reports import storable

from . import words

ATTEMPTS_SHOWN = 50
VALUE_LIMIT = 64 * 1024
NOTHING = "-"

POLICY = ("max_retries", "retry_count", "crash_count", "timeout", "options", "stop_reason")
TIMES = (
    "enqueued_at",
    "queued_at",
    "started_at",
    "last_attempted_at",
    "claimed_at",
    "run_after",
    "finished_at",
)
PLACE = ("id", "name", "queue_name", "priority", "backend", "worker", "suspect", "internal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A labelled value; ``help`` says what it means."""

    label: str
    value: Any
    help: Any = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An attempt in the timeline."""

    attempt: Attempt
    pill: str
    error: str
    facts: Sequence[Fact]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What the template shows. All of it is text or escaped HTML."""

    pill: str
    headline: str
    error: str
    entries: Sequence[Entry]
    left_out: int
    arguments: Sequence[Fact]
    return_value: str
    sections: Sequence[tuple[Any, Sequence[Fact]]]


def of(task: Task) -> Page:
    """Return the page of a Task, its latest attempts read in one query."""
    attempts = list(task.attempts.order_by("-number")[:ATTEMPTS_SHOWN])[::-1]
    last = attempts[-1] if attempts else None
    succeeded = task.status == Status.SUCCEEDED
    return Page(
        pill=words.pill(task.status, task.get_status_display()),
        headline=words.headline(task, last),
        error=_error(last) if last and not succeeded else "",
        entries=[_entry(attempt) for attempt in attempts],
        left_out=task.attempt_count - len(attempts),
        arguments=_arguments(task),
        return_value=_pretty(task.return_value) if succeeded else "",
        sections=[
            (_("Policy"), fields_of(task, POLICY)),
            (_("Times"), fields_of(task, TIMES)),
            (_("Identity and place"), fields_of(task, PLACE)),
        ],
    )


def _entry(attempt: Attempt) -> Entry:
    ran = (attempt.finished_at - attempt.started_at).total_seconds()
    return Entry(
        attempt=attempt,
        pill=words.pill(attempt.outcome, attempt.get_outcome_display()),
        error=_error(attempt),
        facts=[
            *_moments(attempt),
            Fact(label=gettext("Run time"), value=words.run_time(ran)),
            Fact(label=gettext("Worker"), value=attempt.worker),
        ],
    )


def _error(attempt: Attempt) -> str:
    message = f": {attempt.exception_message}" if attempt.exception_message else ""
    return attempt.exception_class_path.removeprefix("builtins.") + message


def _moments(attempt: Attempt) -> list[Fact]:
    queued_at = attempt.queued_at
    later = (
        (gettext("Started"), attempt.started_at),
        (gettext("Finished"), attempt.finished_at),
        (gettext("Next run after"), attempt.next_run_after),
    )
    return [
        Fact(label=gettext("Queued"), value=words.time_tag(queued_at)),
        *(
            Fact(label=label, value=words.time_tag(at, words.clock(at, queued_at)))
            for label, at in later
            if at is not None
        ),
    ]


def _arguments(task: Task) -> list[Fact]:
    return [
        Fact(label=name, value=_pretty(value))
        for name, value in redaction.shown_arguments(task).items()
    ]


def _pretty(value: Any) -> str:
    text = json.dumps(json.loads(codec.dumps(value)), indent=2, ensure_ascii=False)
    return storable(text, VALUE_LIMIT)


def fields_of(row: models.Model, names: Sequence[str]) -> list[Fact]:
    """Return fields of a row, each with what its help text says of it."""
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
