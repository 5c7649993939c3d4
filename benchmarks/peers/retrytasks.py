"""django-retrytasks, as its README has it set up."""

from __future__ import annotations

from benchmarks.peers import works
from benchmarks.peers.tables import empty, make
from django_retrytasks import retry_task
from django_retrytasks.models import Attempt, Task

__all__ = ["empty", "prepare"]

prepare = make


@retry_task
def nothing(number: int) -> None:
    works.nothing(number)


@retry_task
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


@retry_task(max_retries=works.RETRIES, countdown=0)
def fails(number: int) -> None:
    works.fails(number)


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    task.enqueue_many(works.arguments(work, count, seconds))


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.enqueue(number)


def left() -> int:
    return Task.objects.unfinished().filter(internal=False).count()


def kept() -> dict[str, int]:
    attempts = Attempt.objects.filter(task__internal=False)
    return {
        "tasks": Task.objects.filter(internal=False, run_after=None).count(),
        "attempts": attempts.count(),
        "tracebacks": attempts.exclude(traceback="").count(),
    }
