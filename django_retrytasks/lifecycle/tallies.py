"""Tallies: Tasks that ended in each minute, counted once, so that a day takes few rows to read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Trunc
from django.utils import timezone

from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.database.seeks import evaluate, first
from django_retrytasks.models import Status, Tally, Task
from django_retrytasks.policy import StopReason

COUNTS = ("succeeded_count", "retried_count", "failed_count", "expired_count")
# An expired Task is DISCARDED.
ENDED = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)
MINUTE = timedelta(minutes=1)
# Tallies are kept for so long, and the first sweep looks back so far.
KEPT = timedelta(hours=25)
# A minute is counted so long after its end: by then, every settle in it has committed.
GRACE = MINUTE
# Minutes counted by one query.
STEP = timedelta(hours=1)


def take() -> None:
    """Count the minutes that are over and not counted yet; delete the oldest tallies."""
    now, oldest = _now_and_oldest()
    if now is None:
        return
    until = whole_minute(now - GRACE)
    first_kept = until - KEPT
    since = counted_until(first_kept)
    if since > until or (oldest and oldest < first_kept):
        with writing():
            # Tallies of the future date from before the clock was set back.
            Tally.objects.filter(Q(minute__lt=first_kept) | Q(minute__gte=until)).delete()
        since = counted_until(first_kept)
    start = _first_ended(since, until)
    while start is not None:
        end = min(start + STEP, until)
        tallies = ended(start, end)
        with writing():
            # Another sweep may have counted them meanwhile.
            Tally.objects.bulk_create(tallies, ignore_conflicts=True)
        start = _first_ended(end, until)


def _first_ended(since: datetime, until: datetime) -> datetime | None:
    """Return the first minute of a period in which a Task ended; None if none ended."""
    rows = Task.objects.all()
    lately = rows.filter(internal__in=(False,), finished_at__gte=since, finished_at__lt=until)
    by_status = {each: lately.filter(status=each).order_by("finished_at") for each in ENDED}
    earliest = {status: first(tasks, "finished_at") for status, tasks in by_status.items()}
    ended_at = evaluate(rows, earliest).values()
    return min((whole_minute(at) for at in ended_at if at), default=None)


def counted_until(since: datetime) -> datetime:
    """Return the end of the last counted minute, but not before ``since``."""
    latest: datetime | None = Tally.objects.aggregate(at=Max("minute"))["at"]
    return since if latest is None else max(since, latest + MINUTE)


def counted(since: datetime, until: datetime, unit: str = "minute") -> list[Tally]:
    """Return the stored tallies of a period, summed by "minute" or "hour".

    ``minute`` is the start of each unit. A unit in which no Task ended has no tally.
    """
    slot = Trunc("minute", unit, tzinfo=zone_of(since))
    tallies = Tally.objects.filter(minute__gte=since, minute__lt=until)
    slots = tallies.values(slot=slot).order_by("slot")
    rows: Any = slots.annotate(**{name: Sum(name) for name in COUNTS})
    return [Tally(minute=row.pop("slot"), **row) for row in rows]


def ended(since: datetime, until: datetime | None = None) -> list[Tally]:
    """Count the tallies of a period now, without storing them."""
    rows: Any = Task.objects.filter(
        internal__in=(False,),
        status__in=ENDED,
        finished_at__gte=since,
        **({} if until is None else {"finished_at__lt": until}),
    )
    succeeded, retried = Q(status=Status.SUCCEEDED), Q(attempt_count__gt=1)
    minute = Trunc("finished_at", "minute", tzinfo=zone_of(since))
    minutes = rows.annotate(minute=minute).values("minute").order_by("minute")
    counts = minutes.annotate(
        succeeded_count=Count("pk", filter=succeeded & ~retried),
        retried_count=Count("pk", filter=succeeded & retried),
        failed_count=Count("pk", filter=Q(status=Status.FAILED)),
        expired_count=Count("pk", filter=Q(stop_reason=StopReason.EXPIRED)),
    )
    return [Tally(**row) for row in counts]


def of_a_day() -> dict[str, int]:
    """Return the sums of the stored tallies, by name, from midnight UTC to the last minute counted.

    They only grow until the first minute of another day is counted: then they start anew.
    """
    latest: datetime | None = Tally.objects.aggregate(at=Max("minute"))["at"]
    if latest is None:
        return dict.fromkeys(COUNTS, 0)
    midnight = latest.replace(hour=0, minute=0)
    day = Tally.objects.filter(minute__gte=midnight)
    return day.aggregate(**{name: Sum(name, default=0) for name in COUNTS})


def latest(count: int, start: datetime, statuses: Iterable[Status] = ENDED) -> datetime:
    """Return the moment, ``start`` at the earliest, since which at most ``count`` Tasks ended.

    So many of each of these statuses. By an index seek for each, and a walk over ``count`` entries.
    """
    edges: list[datetime] = [start]
    for status in statuses:
        ended: Any = Task.objects.of_status(status).filter(finished_at__gte=start)
        moments = ended.order_by("-finished_at").values_list("finished_at", flat=True)
        edges += moments[count : count + 1]
    return max(edges)


def whole_minute(at: datetime) -> datetime:
    """Return the start of a moment's minute."""
    return at.replace(second=0, microsecond=0)


def zone_of(at: datetime) -> tzinfo | None:
    """Return the time zone for truncating a moment: UTC, or None if it is naive."""
    return UTC if timezone.is_aware(at) else None


def _now_and_oldest() -> tuple[datetime | None, datetime | None]:
    """Return the database's time, None if there is no Task yet, and the first counted minute."""
    oldest = first(Tally.objects.order_by("minute"), "minute")
    found = evaluate(Task.objects.all(), {"now": DatabaseNow(), "oldest": oldest})
    return found.get("now"), found.get("oldest")
