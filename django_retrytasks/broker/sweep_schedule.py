"""The Schedule of the sweep."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.tasks import async_task

from django_retrytasks.database import alias
from django_retrytasks.values import moments
from django_retrytasks.values.entries import SWEEP_ENTRY

from . import schedules
from .clusters import own_key
from .wakeups import SWEEP_MINUTES, now, signed

SWEEP_NAME = "django-retrytasks sweep"
# django-q2 runs its scheduler every 30 s.
SWEEP_OVERDUE = timedelta(minutes=SWEEP_MINUTES, seconds=40)
# A sweep that was handed over so far in the future dates from before the clock was set back.
SET_BACK = timedelta(minutes=10)
# At most so many Schedules are checked.
SCHEDULES_READ = 1000


def ensure_sweep() -> None:
    """Create the Schedule that runs the sweep every minute, if it is missing."""
    Schedule.objects.using(alias()).get_or_create(
        name=SWEEP_NAME,
        defaults={
            "func": SWEEP_ENTRY,
            "schedule_type": Schedule.MINUTES,
            "minutes": SWEEP_MINUTES,
            "repeats": -1,
            "kwargs": "q_options={'save': False, 'ack_failure': True}",
        },
    )


def swept_at() -> datetime | None:
    """Return when the sweep was last handed to a cluster, by host time; None: no Schedule."""
    rows = _sweeps().order_by("-next_run")
    next_run: datetime | None = rows.values_list("next_run", flat=True).first()
    return next_run - timedelta(minutes=SWEEP_MINUTES) if next_run else None


def hand_overdue_sweep() -> bool:
    """Hand the sweep to this cluster if it is overdue; return whether it was handed.

    If several processes try at once, one of them hands it.
    """
    moment, step = timezone.now(), timedelta(minutes=SWEEP_MINUTES)
    is_long_ago = Q(next_run__lte=moment + step - SWEEP_OVERDUE)
    is_yet_to_be = Q(next_run__gte=moment + step + SET_BACK)
    with transaction.atomic(using=alias()):
        if not _sweeps().filter(is_long_ago | is_yet_to_be).update(next_run=moment + step):
            return False
        payload = signed("sweep", SWEEP_ENTRY)
        OrmQ.objects.using(alias()).create(key=own_key(), payload=payload, lock=now().at)
    return True


def sweep_overdue_in() -> float | None:
    """Return the seconds until the sweep is overdue, 0 or below if it is; None: no Schedule."""
    at = swept_at()
    if at is None:
        return None
    ago = moments.between(at, timezone.now())
    return 0.0 if ago <= -SET_BACK else (SWEEP_OVERDUE - ago).total_seconds()


def has_sweep() -> bool:
    """Whether the Schedule of the sweep exists and is not switched off."""
    return bool(_sweeps().exists())


def _sweeps() -> Any:
    return Schedule.objects.using(alias()).filter(func=SWEEP_ENTRY).exclude(repeats=0)


def broken_schedules() -> list[str]:
    """Describe each Schedule that django-q2 cannot run, with the reason.

    While it is due, its cluster (the default one, if it names none) runs no Schedule at all.
    """
    rows = Schedule.objects.using(alias()).exclude(repeats=0).exclude(next_run=None)
    earliest = rows.order_by("next_run")[:SCHEDULES_READ]
    faults = ((row, schedules.fault_of(row, async_task)) for row in earliest)
    return [f"{row.name or row.func} (id {row.pk}): {fault}" for row, fault in faults if fault]
