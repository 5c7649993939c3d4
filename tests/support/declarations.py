"""Periodic Tasks that the code of one process declares."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from django_retrytasks import worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import PeriodicTask, Task, periodic_id
from django_retrytasks.tasks import periodic
from django_retrytasks.values.entries import PERIODIC_ENTRY
from tests.support import tasks
from tests.support.driver import Driver

# Its moments are so rare that none comes during a test, nor within the sweep's two minutes.
RARE = timedelta(days=300)


@contextmanager
def code() -> Iterator[None]:
    """Be a process whose code declares what the body declares, and nothing else."""
    others = dict(periodic._declared)
    periodic._declared.clear()
    try:
        yield
    finally:
        periodic._declared.clear()
        periodic._declared.update(others)


def declared(name: str = "report", **options: Any) -> PeriodicTask:
    """Declare a periodic Task and store it; return its row."""
    options = {"every": RARE, "args": [1], **options} if "cron" not in options else options
    periodic.periodic(options.pop("task", tasks.echoes), name=name, **options)
    periodic.sync()
    return row_of(name)


def row_of(name: str = "report") -> PeriodicTask:
    """Return a periodic Task as it is stored now."""
    return PeriodicTask.objects.get(pk=periodic_id(name))


def pass_time(*, days: float = 400) -> None:
    """Let so much time have passed since the periodic Tasks were declared and planned.

    After 400 days one moment of the rare ones has come.
    """
    at = DatabaseNow() - timedelta(days=days)
    PeriodicTask.objects.update(planned_at=at, declared_at=at)


def planned() -> list[Task]:
    """Return the internal Tasks of moments that wait, the earliest first."""
    rows = Task.objects.unfinished().filter(name=PERIODIC_ENTRY)
    return list(rows.order_by("run_after", "pk"))


def moments_of(row: PeriodicTask) -> list[datetime]:
    """Return the moments that wait for a periodic Task, the earliest first."""
    return [task.args[1] for task in planned() if task.args[0] == str(row.pk)]


def enqueued(name: str = "tests.support.tasks.echoes") -> list[Task]:
    """Return the Tasks of a function, the earliest first."""
    return list(Task.objects.filter(name=name).order_by("enqueued_at", "pk"))


def come(driver: Driver) -> None:
    """Sweep once, and run what is due."""
    worker.sweep()
    driver.run_due()
