"""Tallies: Tasks that ended in each minute, counted once, so that a day takes few rows to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from django.db.models import Count, Max, Q, Sum
from django.db.models.functions import Trunc
from django.utils import timezone

from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.database.seeks import evaluate, first
from django_retrytasks.models import Status, Tally, Task

COUNTS = ("succeeded_count", "retried_count", "failed_count")
MINUTE = timedelta(minutes=1)
# Tallies are kept for so long, and the first sweep looks back so far.
KEPT = timedelta(hours=25)
# A minute is counted so long after its end: by then, every settle in it has committed.
GRACE = MINUTE
# Minutes counted by one query.
STEP = timedelta(hours=1)


def take() -> None:
    """Count the minutes that are over and not counted yet; delete the oldest tallies."""
    now = _now()
    if now is None:
        return
    until = whole_minute(now - GRACE)
    with writing():
        # Tallies of the future date from before the clock was set back.
        Tally.objects.filter(Q(minute__lt=until - KEPT) | Q(minute__gte=until)).delete()
    start = _first_ended(counted_until(until - KEPT), until)
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
    statuses = (Status.SUCCEEDED, Status.FAILED)
    by_status = {each: lately.filter(status=each).order_by("finished_at") for each in statuses}
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
        status__in=(Status.SUCCEEDED, Status.FAILED),
        finished_at__gte=since,
        **({} if until is None else {"finished_at__lt": until}),
    )
    succeeded, retried = Q(status=Status.SUCCEEDED), Q(attempt_count__gt=1)
    minute = Trunc("finished_at", "minute", tzinfo=zone_of(since))
    minutes = rows.annotate(minute=minute).values("minute").order_by("minute")
    counts = minutes.annotate(
        succeeded_count=Count("pk", filter=succeeded & ~retried),
        retried_count=Count("pk", filter=succeeded & retried),
        failed_count=Count("pk", filter=~succeeded),
    )
    return [Tally(**row) for row in counts]


def whole_minute(at: datetime) -> datetime:
    """Return the start of a moment's minute."""
    return at.replace(second=0, microsecond=0)


def zone_of(at: datetime) -> tzinfo | None:
    """Return the time zone for truncating a moment: UTC, or None if it is naive."""
    return UTC if timezone.is_aware(at) else None


def _now() -> datetime | None:
    """Return the database's time; None if there is no Task yet."""
    return evaluate(Task.objects.all(), {"now": DatabaseNow()}).get("now")
