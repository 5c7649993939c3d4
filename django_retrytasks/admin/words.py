"""Describe Tasks and failure groups in words and escaped HTML."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext

from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.operators.wording import (
    clock,
    now_of,
    phase_of,
    progress_text,
    span,
    span_of,
)
from django_retrytasks.values.moments import as_instant
from django_retrytasks.values.progress import Progress


def pill(value: str, label: Any) -> SafeString:
    """Return a status or an outcome as a coloured label with a text."""
    return format_html('<span class="rt-pill rt-{}">{}</span>', value.lower(), label)


def short_path(path: str) -> str:
    """Return a dotted path with each module cut to its first letter."""
    *modules, name = path.split(".")
    return ".".join([*(module[:1] for module in modules), name])


def timing(task: Task) -> SafeString:
    """Return when a Task runs next, how long it has been running and how far, or when it ended."""
    phase = phase_of(task)
    tag = time_tag(getattr(task, phase.moment), phase.short % {"span": span_of(task, phase)})
    if task.status == Status.RUNNING and (progress := Progress.read(task.progress)):
        return format_html("{} {}", tag, bar(progress))
    return tag


def bar(progress: Progress) -> SafeString:
    """Return a progress as a bar; without a known total, in words."""
    text = progress_text(progress)
    if progress.share is None:
        return format_html('<span class="rt-reported">{}</span>', text)
    percent = f"{100 * progress.share:.1f}"
    html = (
        '<progress class="rt-progress" max="100" value="{}" title="{}" aria-label="{}"></progress>'
    )
    return format_html(html, percent, text, gettext("Progress"))


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
    now = now_of(group)
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
    return span((now_of(row) - at).total_seconds())


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


def grouped(number: int) -> str:
    """Return a whole number with its digits in groups, such as "10,000"."""
    return number_format(number, force_grouping=True)
