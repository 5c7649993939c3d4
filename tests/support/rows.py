"""What is stored of Tasks, and the database's clock."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Attempt, Task
from tests.support.cluster import wait_for


def final(result: Any) -> Task | None:
    """Return the Task of a result once it is finished, else None."""
    task: Task | None = Task.objects.filter(pk=result.id, finished_at__isnull=False).first()
    return task


def finished(result: Any, seconds: float = 30) -> Task:
    """Return the Task of a result as soon as it is finished."""
    return wait_for(lambda: final(result), seconds)


def outcomes(task: Task) -> list[str]:
    """Return how the Task's attempts ended, the first one first."""
    return list(task.attempts.values_list("outcome", flat=True))


def lateness(attempt: Attempt) -> float:
    """Return how many seconds after the moment it was due it started."""
    return (attempt.started_at - attempt.queued_at).total_seconds()


def values(task: Task) -> dict[str, Any]:
    """Return all that is stored of a Task."""
    rows = Task.objects.filter(pk=task.pk).values()
    return dict(rows.get())


def database_now() -> datetime:
    """Return the database's time; the host's where there are no rows to ask."""
    now: datetime | None = Task.objects.values_list(DatabaseNow(), flat=True).first()
    return now or timezone.now()
