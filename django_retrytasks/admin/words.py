"""Describe Tasks and failure groups in words and escaped HTML."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import get_language_bidi, gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from django_retrytasks.values import texts
from django_retrytasks.values.moments import as_instant


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
# How an attempt ended that is not the Task's last.
ENDED = {
    Attempt.Outcome.FAILED: _("%(attempt)s failed; %(next)s"),
    Attempt.Outcome.TIMED_OUT: _("%(attempt)s timed out; %(next)s"),
    Attempt.Outcome.LOST: _("%(attempt)s was lost with its worker; %(next)s"),
    Attempt.Outcome.SNOOZED: _("%(attempt)s was put off; %(next)s"),
    Attempt.Outcome.DISCARDED: _("%(attempt)s raised Discard; %(next)s"),
    Attempt.Outcome.CANCELLED: _("%(attempt)s was cancelled; %(next)s"),
}


def pill(value: str, label: Any) -> SafeString:
    """Return a status or an outcome as a coloured label with a text."""
    return format_html('<span class="rt-pill rt-{}">{}</span>', value.lower(), label)


def short_path(path: str) -> str:
    """Return a dotted path with each module cut to its first letter."""
    *modules, name = path.split(".")
    return ".".join([*(module[:1] for module in modules), name])


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


def timing(task: Task) -> SafeString:
    """Return when a Task runs next, how long it has been running, or when it ended."""
    phase = phase_of(task)
    return time_tag(getattr(task, phase.moment), phase.short % {"span": _span(task, phase)})


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
    details = {"attempt": _numbered(task, last.number), "next": what}
    return str(ENDED[Attempt.Outcome(last.outcome)] % details)


def phase_of(task: Task) -> Phase:
    """Return a Task's state by the database's clock."""
    if task.is_finished:
        return FINAL[Status(task.status)]
    if task.is_parked:
        return PARKED
    ahead = task.run_after is not None and task.run_after > _now(task)
    if task.status == Status.RUNNING:
        held = RUNS if task.was_started else CLAIMED
        return held if ahead else SILENT
    waits = RETRIES if task.status == Status.RETRYING else STARTS
    return waits if ahead else DUE


def group_headline(group: FailureGroup) -> str:
    """Return a sentence about the failures: their number, period and age."""
    if group.last_failed_at is None:
        words = gettext("No Task failed for good; failed attempts: %(count)d, the last %(ago)s ago")
        details = {"count": group.failed_attempt_count, "ago": _since(group, group.last_seen_at)}
        return words % details
    details = {"failures": _failures(group), "ago": _since(group, group.last_failed_at)}
    if group.streak_count > 1 and group.streak_started_at:
        lasted = (group.last_failed_at - group.streak_started_at).total_seconds()
        words = gettext("%(failures)s in %(span)s, the last %(ago)s ago")
        return words % {**details, "span": span(lasted)}
    if group.streak_count:
        return gettext("%(failures)s, %(ago)s ago") % details
    if group.status == FailureGroup.Status.RESOLVED and group.resolved_at:
        ago = _since(group, group.resolved_at)
        return gettext("Resolved %(ago)s ago, after %(failures)s") % {**details, "ago": ago}
    if group.recovered_at:
        ago = _since(group, group.recovered_at)
        return gettext("Recovered %(ago)s ago, after %(failures)s") % {**details, "ago": ago}
    return gettext("%(failures)s, the last %(ago)s ago") % details


def last_alert(group: FailureGroup) -> str:
    """Return a sentence about the last alert of this streak; "" without a streak."""
    if not group.streak_count:
        return ""
    if group.was_reported_in_flood:
        words = gettext("The last alert was about many groups, when the count was %(count)d.")
        return words % {"count": group.alerted_count}
    if group.alerted_at is None:
        return gettext("No alert has reported these failures.")
    words = gettext("The last alert was %(ago)s ago, when the count was %(count)d.")
    return words % {"ago": _since(group, group.alerted_at), "count": group.alerted_count}


def next_alert(group: FailureGroup, cooldown: timedelta) -> str:
    """Return a sentence about the next alert, by the rule of ``alert_is_due``."""
    now = _now(group)
    if group.status == FailureGroup.Status.RESOLVED:
        return gettext("Resolved: the next failure opens it again, and alerts.")
    if group.is_silent(now):
        until = group.muted_until
        if until is None:
            return gettext("Muted: no alerts until it is reopened.")
        return gettext("Muted: no alerts until %(clock)s.") % {"clock": clock(until, now)}
    if group.is_flood:
        return gettext("It alerts at most once per ALERT_COOLDOWN.")
    if group.alert_is_due(now, cooldown):
        return gettext(
            "The next alert is due: the sweep sends it within a minute, or later in an alert about "
            "many groups."
        )
    if group.was_reported_in_flood:
        return gettext("The next failure alerts at once, or later in an alert about many groups.")
    if group.alerted_at is None or not group.was_alerted(now, cooldown):
        return gettext("The next failure alerts at once.")
    details = {
        "clock": clock(group.alerted_at + cooldown, now),
        "count": 10 ** len(str(group.alerted_count)),
    }
    if group.streak_count == group.alerted_count:
        words = gettext("It alerts next at a count of %(count)d, or if it fails after %(clock)s.")
    else:
        words = gettext("It alerts next at a count of %(count)d, or at %(clock)s.")
    return words % details


def _failures(group: FailureGroup) -> str:
    count = group.streak_count or group.failure_count
    if group.kind == FailureGroup.Kind.RULE:
        words = ngettext("%(count)d breach", "%(count)d breaches", count)
    else:
        words = ngettext("%(count)d failure", "%(count)d failures", count)
    return words % {"count": count}


def _since(row: Any, at: datetime) -> str:
    return span((_now(row) - at).total_seconds())


def time_tag(at: datetime, text: str = "") -> SafeString:
    """Return a time as ``<time>``: in local time or with ``text``, exact UTC in its title."""
    exact = as_instant(at)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        exact.isoformat(),
        exact.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC",
        text or clock(at),
    )


def ago(row: Any, at: datetime | None) -> SafeString:
    """Return the age of a past time, by the database's time in the row."""
    if at is None:
        return SafeString("-")
    return time_tag(at, gettext("%(span)s ago") % {"span": _since(row, at)})


def span(seconds: float) -> str:
    """Return a duration in whole seconds, minutes, hours or days, with a no-break space."""
    return texts.span(seconds).replace(" ", "\u00a0")


def grouped(number: int) -> str:
    """Return a whole number with its digits in groups, such as "10,000"."""
    return number_format(number, force_grouping=True)


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
        "span": _span(task, phase),
        "clock": clock(getattr(task, phase.moment), _now(task)),
        "worker": isolated(task.worker),
        "stop_reason": task.get_stop_reason_display(),
    }


def _span(task: Task, phase: Phase) -> str:
    at: datetime = getattr(task, phase.moment)
    return span(abs((at - _now(task)).total_seconds()))


def _now(row: Any) -> datetime:
    now: datetime = getattr(row, DATABASE_NOW)
    return now


def _of_attempt(task: Task, number: int, what: str) -> str:
    return gettext("%(attempt)s: %(what)s") % {"attempt": _numbered(task, number), "what": what}


def _numbered(task: Task, number: int) -> str:
    most = attempts_at_most(task)
    if most is None:
        return gettext("Attempt %(number)d") % {"number": number}
    return gettext("Attempt %(number)d of %(most)d") % {"number": number, "most": most}
