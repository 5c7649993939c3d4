"""The yardstick's twin, on a stock cluster of django-q2."""

from __future__ import annotations

from django.utils import timezone

from benchmarks.peers import works
from benchmarks.peers.tables import empty, make
from benchmarks.twin.models import Job, Run
from benchmarks.twin.worker import MOST, wake

__all__ = ["empty", "prepare"]

prepare = make


def enqueue(work: str, count: int, seconds: float) -> None:
    """Store the jobs, and a wake-up for each full claim of them."""
    now, path = timezone.now(), f"benchmarks.peers.works.{work}"
    Job.objects.bulk_create(
        (
            Job(function=path, arguments=arguments, due_at=now, enqueued_at=now)
            for arguments in works.arguments(work, count, seconds)
        ),
        batch_size=1000,
    )
    wake(max(1, count // MOST))


def enqueue_each(count: int) -> None:
    now = timezone.now()
    for number in range(count):
        path = "benchmarks.peers.works.nothing"
        Job.objects.create(function=path, arguments=[number], due_at=now, enqueued_at=now)
        wake(1)


def left() -> int:
    return Job.objects.exclude(due_at=None).count()


def kept() -> dict[str, int]:
    return {
        "tasks": Job.objects.filter(due_at=None).count(),
        "attempts": Run.objects.count(),
        "tracebacks": Run.objects.exclude(traceback="").count(),
    }
