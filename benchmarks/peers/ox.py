"""django-ox, two worker processes under its supervisor."""

from __future__ import annotations

from django.tasks import task
from django_ox.bulk import enqueue_many
from django_ox.models import OxTask

from benchmarks.peers import works
from benchmarks.peers.tables import empty, make

__all__ = ["empty", "prepare"]

prepare = make


@task
def nothing(number: int) -> None:
    works.nothing(number)


@task
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


@task(max_attempts=works.RETRIES + 1, backoff=lambda error, result: 0)
def fails(number: int) -> None:
    works.fails(number)


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    enqueue_many(task, [(one, {}) for one in works.arguments(work, count, seconds)])


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.enqueue(number)


def left() -> int:
    return OxTask.objects.filter(finished_at=None).count()


def kept() -> dict[str, int]:
    errors = [one for some in OxTask.objects.values_list("errors", flat=True) for one in some]
    ended = OxTask.objects.exclude(finished_at=None)
    return {"tasks": ended.count(), "attempts": 0, "tracebacks": len(errors)}
