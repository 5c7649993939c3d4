"""Describe a Task in words: its state, its attempts, the next step, and lengths of time."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.text import capfirst
from django.utils.translation import get_language_bidi, gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.models import Attempt, PeriodicTask, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import texts
from django_retrytasks.values.calendars import UNREADABLE
from django_retrytasks.values.moments import as_instant
from django_retrytasks.values.progress import Progress


class Phase(NamedTuple):
    """A Task's state: the time it began or ends, words for the list, and words for its page.

    ``moment`` names the Task's field with that time.
    """

    moment: str
    short: Any
    long: Any


STARTS = Phase("run_after", _("starts in %(span)s"), _("starts in %(span)s at %(clock)s"))
RETRIES = Phase("run_after", _("next retry in %(span)s"), _("next retry in %(span)s at %(clock)s"))
PARKED = Phase(
    "queued_at",
    _("paused for %(span)s"),
    _("paused: due %(span)s ago, waits until its queue or function is resumed"),
)
BEHIND_BREAKER = Phase(
    "queued_at",
    _("behind a breaker for %(span)s"),
    _("behind a breaker: due %(span)s ago, waits until the breaker lets it through"),
)
DUE = Phase(
    "run_after",
    _("due for %(span)s"),
    _("due since %(clock)s: the next free worker takes it"),
)
CLAIMED = Phase("claimed_at", _("claimed %(span)s ago"), _("claimed %(span)s ago by %(worker)s"))
RUNS = Phase(
    "last_attempted_at", _("running for %(span)s"), _("running for %(span)s on %(worker)s")
)
SILENT = Phase(
    "run_after",
    _("lease over for %(span)s"),
    _("lease over since %(clock)s: the next claim records the attempt as lost"),
)
FINAL = {
    Status.SUCCEEDED: Phase(
        "finished_at", _("succeeded %(span)s ago"), _("succeeded %(span)s ago at %(clock)s")
    ),
    Status.FAILED: Phase(
        "finished_at",
        _("failed %(span)s ago"),
        _("failed %(span)s ago at %(clock)s: %(stop_reason)s"),
    ),
    Status.DISCARDED: Phase(
        "finished_at", _("discarded %(span)s ago"), _("discarded %(span)s ago at %(clock)s")
    ),
}
EXPIRED = Phase(
    "finished_at",
    _("expired %(span)s ago"),
    _("expired %(span)s ago at %(clock)s: no attempt had started in time"),
)
CANCELLED = Phase(
    "finished_at", _("cancelled %(span)s ago"), _("%(stop_note)s, %(span)s ago at %(clock)s")
)
# How an attempt ended that is not the Task's last.
ENDED = {
    Attempt.Outcome.FAILED: _("%(attempt)s failed; %(next)s"),
    Attempt.Outcome.TIMED_OUT: _("%(attempt)s timed out; %(next)s"),
    Attempt.Outcome.LOST: _("%(attempt)s was lost with its worker; %(next)s"),
    Attempt.Outcome.SNOOZED: _("%(attempt)s was put off; %(next)s"),
    Attempt.Outcome.DISCARDED: _("%(attempt)s raised Discard; %(next)s"),
    Attempt.Outcome.CANCELLED: _("%(attempt)s: %(next)s"),
}


def attempts_used(task: Task) -> str:
    """Return the number of attempts and its maximum, such as "3 / 4"."""
    most = attempts_at_most(task)
    return f"{task.attempt_count} / {'∞' if most is None else most}"


def attempts_at_most(task: Task) -> int | None:
    """Return the highest possible attempt number; None: retried for ever.

    That is ``max_retries + 1``, and more after a re-drive or a snooze, since numbers continue.
    """
    if task.max_retries is None:
        return None
    coming = 0 if task.is_finished else max(1, task.max_retries - task.retry_count + 1)
    return max(task.max_retries + 1, task.attempt_count + coming)


def headline(task: Task, last: Attempt | None) -> str:
    """Return a sentence about the end of the last attempt and the next step."""
    phase = phase_of(task)
    what = phase.long % _details(task, phase)
    if task.status == Status.RUNNING:
        return _of_attempt(task, task.attempt_count + 1, what)
    if last is None:
        return str(capfirst(what))
    if task.status in (Status.SUCCEEDED, Status.FAILED):
        return _of_attempt(task, last.number, what)
    if last.outcome not in ENDED:  # of another version
        return str(capfirst(what))
    details = {"attempt": _numbered(task, last.number), "next": what}
    return str(ENDED[Attempt.Outcome(last.outcome)] % details)


def phase_of(task: Task) -> Phase:
    """Return a Task's state by the database's clock."""
    if task.stop_reason == StopReason.EXPIRED:
        return EXPIRED
    if task.is_cancelled:
        return CANCELLED
    if task.is_finished:
        return FINAL[Status(task.status)]
    if task.is_parked:
        return BEHIND_BREAKER if task.is_behind_breaker else PARKED
    ahead = task.run_after is not None and task.run_after > now_of(task)
    if task.status == Status.RUNNING:
        held = RUNS if task.was_started else CLAIMED
        return held if ahead else SILENT
    waits = RETRIES if task.status == Status.RETRYING else STARTS
    return waits if ahead else DUE


def progress_text(progress: Progress) -> str:
    """Return a progress in words, such as "37 of 100: reads orders"."""
    counted = _number(progress.current)
    if progress.total is not None:
        details = {"current": counted, "total": _number(progress.total)}
        counted = gettext("%(current)s of %(total)s") % details
    return f"{counted}: {isolated(progress.text)}" if progress.text else counted


def _number(value: float) -> str:
    return number_format(texts.number_text(value), force_grouping=True)


def span(seconds: float) -> str:
    """Return a duration in whole seconds, minutes, hours or days, with a no-break space."""
    return texts.span(seconds).replace(" ", "\u00a0")


def run_time(seconds: float) -> str:
    """Return a run time, with a precision that suits its length."""
    if seconds < 1:
        milliseconds = number_format(1000 * seconds, 1)
        return gettext("%(milliseconds)s ms") % {"milliseconds": milliseconds}
    if seconds < 60:
        return gettext("%(seconds)s s") % {"seconds": number_format(seconds, 2)}
    return span(seconds)


def clock(at: datetime, beside: datetime | None = None) -> str:
    """Return a time in local time, without its date if ``beside`` has the same date."""
    local = as_local(at)
    same_day = beside is not None and local.date() == as_local(beside).date()
    return isolated(local.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S"))


def isolated(text: str) -> str:
    """Isolate a name or a time, so that right-to-left text does not reorder it."""
    return f"\u2066{text}\u2069" if get_language_bidi() else text


def as_local(at: datetime) -> datetime:
    """Return a stored time in the current time zone."""
    return timezone.localtime(at) if timezone.is_aware(at) else at


def _details(task: Task, phase: Phase) -> dict[str, Any]:
    return {
        "span": span_of(task, phase),
        "clock": clock(getattr(task, phase.moment), now_of(task)),
        "worker": isolated(task.worker),
        "stop_reason": task.get_stop_reason_display(),
        "stop_note": isolated(texts.translated(task.stop_note)),
    }


def span_of(task: Task, phase: Phase) -> str:
    """Return the length of time from now to a Task's moment, or since then."""
    at: datetime = getattr(task, phase.moment)
    return span(abs((at - now_of(task)).total_seconds()))


def calendar_text(row: PeriodicTask) -> str:
    """Return when a periodic Task comes: its cron line, or words such as "every 10 min"."""
    if row.every is None:
        return row.cron
    return gettext("every %(span)s") % {"span": texts.length(row.every)}


def next_run_at(row: PeriodicTask) -> datetime | None:
    """Return a periodic Task's next moment; None: it is off or retired, or cannot be read here."""
    if not row.is_in_force:
        return None
    with suppress(*UNREADABLE):
        return row.calendar.next(as_instant(now_of(row)))
    return None


def now_of(row: Any) -> datetime:
    """Return the database's time in a row that was read with it, as `DATABASE_NOW`."""
    now: datetime = getattr(row, DATABASE_NOW)
    return now


def _of_attempt(task: Task, number: int, what: str) -> str:
    return gettext("%(attempt)s: %(what)s") % {"attempt": _numbered(task, number), "what": what}


def _numbered(task: Task, number: int) -> str:
    most = attempts_at_most(task)
    if most is None:
        return gettext("Attempt %(number)d") % {"number": number}
    return gettext("Attempt %(number)d of %(most)d") % {"number": number, "most": most}
