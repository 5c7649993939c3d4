"""Recent failures of a failure group: counts and a small chart."""

from __future__ import annotations

import math
import uuid
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, DateTimeField, ExpressionWrapper, F
from django.db.models.functions import Trunc
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import FailureGroup, Status, Task

HOUR = timedelta(hours=1)
HOURS = 24
WEEK = timedelta(days=7)
# The chart, in its own units: the width of an hour, of its bar, and the greatest height.
STEP, BAR, HEIGHT = 4, 3, 20


class Recent(NamedTuple):
    """Recently failed Tasks, without Tasks that were re-driven or discarded since."""

    hourly: Sequence[int]
    """Counts of the last 24 periods of 60 minutes, the earliest first."""
    week: int
    """Count of the last 7 days."""

    @property
    def hour(self) -> int:
        return self.hourly[-1]

    @property
    def day(self) -> int:
        return sum(self.hourly)


NONE = Recent(hourly=[0] * HOURS, week=0)


def by_group(groups: Sequence[FailureGroup], now: datetime) -> dict[uuid.UUID, Recent]:
    """Count the failures of these groups; omit groups without a failure in 7 days.

    Two queries read 7 days of the index (failure_group, finished_at).
    """
    failed: Any = Task.objects.filter(
        failure_group__in=[group.pk for group in groups], status=Status.FAILED
    )
    hourly = _hourly(failed, now)
    lately = failed.filter(finished_at__gt=now - WEEK).values_list("failure_group")
    weekly = dict(lately.annotate(count=Count("finished_at")))
    return {pk: Recent(hourly=hourly[pk], week=week) for pk, week in weekly.items()}


def _hourly(failed: Any, now: datetime) -> dict[uuid.UUID, list[int]]:
    """Return, by group, the counts of the last 24 periods of 60 minutes."""
    end = now.replace(minute=0, second=0, microsecond=0) + HOUR
    # Shifted, so that a clock hour ends now.
    moved = ExpressionWrapper(F("finished_at") + (end - now), output_field=DateTimeField())
    lately = failed.filter(finished_at__gt=now - HOURS * HOUR)
    hours = lately.annotate(begun=Trunc(moved, "hour", tzinfo=tallies.zone_of(now))).values_list(
        "failure_group", "begun"
    )
    counts: dict[uuid.UUID, list[int]] = defaultdict(lambda: [0] * HOURS)
    for group, begun, count in hours.annotate(count=Count("finished_at")):
        # A Task may have failed after ``now``.
        ago = max(0, (end - begun) // HOUR - 1)
        counts[group][-1 - ago] += count
    return counts


def chart(recent: Recent) -> SafeString:
    """Return a bar chart of the last 24 hours, with a text for screen readers."""
    highest = max(recent.hourly)
    heights = [math.ceil(HEIGHT * count / highest) if count else 0 for count in recent.hourly]
    bars = format_html_join(
        "",
        '<rect x="{}" y="{}" width="{}" height="{}"/>',
        ((STEP * n, HEIGHT - height, BAR, height) for n, height in enumerate(heights) if height),
    )
    words = gettext("%(day)d in 24 h, at most %(highest)d in an hour")
    return format_html(
        '<svg class="rt-spark" viewBox="0 0 {width} {bottom}" role="img" aria-label="{words}">'
        '<title>{words}</title><path d="M0 {height}.5H{width}"/>{bars}</svg>',
        width=STEP * HOURS,
        height=HEIGHT,
        bottom=HEIGHT + 1,
        words=words % {"day": recent.day, "highest": highest},
        bars=bars,
    )
