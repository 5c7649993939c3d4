"""What ended in each minute: counted once by the sweep, so that a day is told from few rows."""

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
# How long tallies are kept, and how far the first sweep looks back.
KEPT = timedelta(hours=25)
# A minute is counted when it is over for so long: who settled in it has committed by then.
GRACE = MINUTE
# Minutes counted by one query.
STEP = timedelta(hours=1)


def take() -> None:
    """Count what ended in the minutes that are over and not counted yet; forget the oldest."""
    now = _now()
    if now is None:
        return
    until = whole_minute(now - GRACE)
    with writing():
        # Those of the future are of before the clock was set back.
        Tally.objects.filter(Q(minute__lt=until - KEPT) | Q(minute__gte=until)).delete()
    start = _first_ended(counted_until(until - KEPT), until)
    while start is not None:
        end = min(start + STEP, until)
        found = ended(start, end)
        with writing():
            # Another sweep may have counted them meanwhile.
            Tally.objects.bulk_create(found, ignore_conflicts=True)
        start = _first_ended(end, until)


def _first_ended(since: datetime, until: datetime) -> datetime | None:
    """Return the first minute of a time in which something ended, None where nothing did."""
    rows = Task.objects.all()
    lately = rows.filter(internal__in=(False,), finished_at__gte=since, finished_at__lt=until)
    statuses = (Status.SUCCEEDED, Status.FAILED)
    by_status = {of: lately.filter(status=of).order_by("finished_at") for of in statuses}
    found = evaluate(rows, {of: first(each, "finished_at") for of, each in by_status.items()})
    return min((whole_minute(at) for at in found.values() if at), default=None)


def counted_until(since: datetime) -> datetime:
    """Return from when on nothing is counted yet, ``since`` at the earliest."""
    latest: datetime | None = Tally.objects.aggregate(at=Max("minute"))["at"]
    return since if latest is None else max(since, latest + MINUTE)


def counted(since: datetime, until: datetime, unit: str = "minute") -> list[Tally]:
    """Return the tallies of a time, summed by "minute" or "hour", whose beginning they bear.

    Where nothing ended there is none.
    """
    slot = Trunc("minute", unit, tzinfo=zone_of(since))
    those = Tally.objects.filter(minute__gte=since, minute__lt=until)
    slots = those.values(slot=slot).order_by("slot")
    rows: Any = slots.annotate(**{name: Sum(name) for name in COUNTS})
    return [Tally(minute=row.pop("slot"), **row) for row in rows]


def ended(since: datetime, until: datetime | None = None) -> list[Tally]:
    """Return the tallies of a time, counted now and not stored."""
    rows: Any = Task.objects.filter(
        internal__in=(False,),
        status__in=(Status.SUCCEEDED, Status.FAILED),
        finished_at__gte=since,
        **({} if until is None else {"finished_at__lt": until}),
    )
    succeeded, retried = Q(status=Status.SUCCEEDED), Q(attempt_count__gt=1)
    minute = Trunc("finished_at", "minute", tzinfo=zone_of(since))
    found = rows.annotate(minute=minute).values("minute").order_by("minute")
    counts = found.annotate(
        succeeded_count=Count("pk", filter=succeeded & ~retried),
        retried_count=Count("pk", filter=succeeded & retried),
        failed_count=Count("pk", filter=~succeeded),
    )
    return [Tally(**row) for row in counts]


def whole_minute(at: datetime) -> datetime:
    """Return when a moment's minute began."""
    return at.replace(second=0, microsecond=0)


def zone_of(at: datetime) -> tzinfo | None:
    """Return the time zone in which moments are cut into minutes and hours: UTC, or none."""
    return UTC if timezone.is_aware(at) else None


def _now() -> datetime | None:
    """Return the database's time; None where there is no Task yet."""
    asked = {"now": DatabaseNow()}
    return evaluate(Task.objects.all(), asked).get("now")
