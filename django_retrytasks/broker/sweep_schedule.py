"""The Schedule by which django-q2 runs the sweep."""

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
# django-q2 looks at its Schedules every 30 s.
SWEEP_OVERDUE = timedelta(minutes=SWEEP_MINUTES, seconds=40)
# What was handed over so far in the future was by a clock that has been set back since.
SET_BACK = timedelta(minutes=10)
# How many Schedules are looked at for those that cannot run.
SCHEDULES_READ = 1000


def ensure_sweep() -> None:
    """Have the cluster run the sweep every minute: one Schedule row, made if it is missing."""
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
    """Return when a cluster was last handed the sweep, by its clock; None: not scheduled."""
    rows = _sweeps().order_by("-next_run")
    next_run: datetime | None = rows.values_list("next_run", flat=True).first()
    return next_run - timedelta(minutes=SWEEP_MINUTES) if next_run else None


def hand_overdue_sweep() -> bool:
    """Hand the sweep to this cluster if django-q2 has not for longer than it should take.

    One process does where several try. Returns whether it was handed.
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
    """Return the seconds until the sweep is overdue, 0 or below if it is; None: not scheduled."""
    at = swept_at()
    if at is None:
        return None
    ago = moments.between(at, timezone.now())
    return 0.0 if ago <= -SET_BACK else (SWEEP_OVERDUE - ago).total_seconds()


def has_sweep() -> bool:
    """Whether the Schedule row of the sweep exists and has not been switched off."""
    return bool(_sweeps().exists())


def _sweeps() -> Any:
    return Schedule.objects.using(alias()).filter(func=SWEEP_ENTRY).exclude(repeats=0)


def broken_schedules() -> list[str]:
    """Tell which Schedules django-q2 cannot run, and why, in words.

    While one of them is due, its cluster runs none, nor does the default one without a cluster.
    """
    rows = Schedule.objects.using(alias()).exclude(repeats=0).exclude(next_run=None)
    first = rows.order_by("next_run")[:SCHEDULES_READ]
    told = ((row, schedules.fault_of(row, async_task)) for row in first)
    return [f"{row.name or row.func} (id {row.pk}): {fault}" for row, fault in told if fault]
