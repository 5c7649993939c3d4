"""How many Tasks of a failure group failed of late, and a small chart of it."""

from __future__ import annotations

import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from django.db.models import Count, Q
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from django_retrytasks import wakeups
from django_retrytasks.models import FailureGroup, Status, Task

HOUR = timedelta(hours=1)
HOURS = 24
WEEK = timedelta(days=7)
# The chart, in units of its own: the width of an hour, of its bar, and the height of the highest.
STEP, BAR, HEIGHT = 4, 3, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Tasks that failed of late, those re-driven or discarded since left out.

    ``within[n]`` in the last n hours, n up to 24; ``week`` in the last 7 days.
    """

    within: Sequence[int]
    week: int

    @property
    def hour(self) -> int:
        return self.within[1]

    @property
    def day(self) -> int:
        return self.within[HOURS]

    @property
    def hourly(self) -> list[int]:
        """Return how many failed in each of the last 24 hours, the earliest first."""
        return [more - fewer for fewer, more in pairwise(self.within)][::-1]


NONE = Recent(within=[0] * (HOURS + 1), week=0)


def of(groups: Sequence[FailureGroup], now: datetime) -> dict[uuid.UUID, Recent]:
    """Count for all these groups by one query; a group without failures in 7 days is left out.

    Reads the Tasks that failed so in 7 days where (failure_group, finished_at) is an index;
    otherwise all Tasks of the groups.
    """
    starts = {f"in_{n}": now - n * HOUR for n in range(1, HOURS + 1)}
    counts = {
        name: Count("finished_at", filter=Q(finished_at__gt=start))
        for name, start in starts.items()
    }
    failed: Any = Task.objects.using(wakeups.alias()).filter(
        failure_group__in=[group.pk for group in groups],
        status=Status.FAILED,
        finished_at__gt=now - WEEK,
    )
    rows = failed.values("failure_group").annotate(week=Count("finished_at"), **counts)
    return {
        row["failure_group"]: Recent(within=[0, *(row[name] for name in counts)], week=row["week"])
        for row in rows
    }


def chart(recent: Recent) -> SafeString:
    """Return the failures of each of the last 24 hours as bars, with the same in words."""
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
