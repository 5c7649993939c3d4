"""Note that a worker lives, and forget workers that have ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet

from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import Worker

# Seconds between two notes of a worker.
BEAT = 15.0
# A worker that was not seen for so long has ended, or its machine stands still.
GONE = timedelta(seconds=3 * BEAT)
# Its row is deleted after so long.
FORGOTTEN = timedelta(minutes=10)


def note(name: str, cluster: str, *, age: float, idle: float | None) -> None:
    """Store that a worker lives, in its row.

    Args:
        name: the worker's name.
        cluster: the key of its cluster.
        age: seconds since its start.
        idle: seconds since it last looked for due Tasks; None: it never has.
    """
    now: Any = DatabaseNow()
    values = {
        "cluster": cluster,
        "started_at": now - timedelta(seconds=age),
        "seen_at": now,
        "served_at": None if idle is None else now - timedelta(seconds=idle),
    }
    with writing():
        if not Worker.objects.filter(name=name).update(**values):
            Worker.objects.bulk_create([Worker(name=name, **values)], ignore_conflicts=True)


def alive() -> QuerySet[Worker]:
    """Return the workers that were seen lately."""
    return Worker.objects.filter(seen_at__gt=DatabaseNow() - GONE)


def forget() -> None:
    """Delete the rows of workers that were not seen for ten minutes."""
    with writing():
        Worker.objects.filter(seen_at__lt=DatabaseNow() - FORGOTTEN).delete()
