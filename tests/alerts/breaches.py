"""Tasks that break alert rules, and what breaks them."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import Any

from django.db.models import F

from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.values.ids import uuid7
from tests.support import tasks
from tests.support.driver import Driver

FAILS = "tests.support.tasks.fails_once_for_all"


def make_due_for(seconds: float, *of: Any) -> None:
    """Have these Tasks been due for so long."""
    rows = Task.objects.filter(pk__in=[one.id for one in of])
    rows.update(run_after=DatabaseNow() - timedelta(seconds=seconds))


def finish(driver: Driver, status: Status, count: int = 1, **values: Any) -> None:
    """Store so many finished Tasks; ``ago`` says how many seconds ago they ended."""
    row = driver.task_in(status)
    assert row.finished_at is not None
    row.finished_at -= timedelta(seconds=values.pop("ago", 0))
    for name, value in values.items():
        setattr(row, name, value)
    row.save()
    rows = [copy(row) for _ in range(count - 1)]
    for each in rows:
        each.pk = uuid7()
    Task.objects.bulk_create(rows, batch_size=500)


def fail(driver: Driver, count: int = 1, *, ago: float = 0) -> FailureGroup:
    """Have so many Tasks fail for good, so many seconds ago; return their group."""
    results = tasks.fails_once_for_all.enqueue_many([()] * count)
    driver.drain()
    failed = Task.objects.filter(pk__in=[result.id for result in results])
    failed.update(finished_at=F("finished_at") - timedelta(seconds=ago))
    group: FailureGroup = FailureGroup.objects.get(name=FAILS)
    return group
