"""Procrastinate in Django, one worker process that runs two jobs at once."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from procrastinate import RetryStrategy
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob

from benchmarks.peers import works
from benchmarks.peers.tables import count as count_of
from benchmarks.peers.tables import make

prepare = make

CHUNK = 1000


@app.task
async def nothing(number: int) -> None:
    works.nothing(number)


@app.task(retry=RetryStrategy(max_attempts=works.RETRIES, wait=0))
async def fails(number: int) -> None:
    works.fails(number)


@app.task
async def sleeps(number: int, seconds: float) -> None:
    await sync_to_async(works.sleeps)(number, seconds)


def empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs RESTART IDENTITY CASCADE")


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    calls = [
        dict(zip(("number", "seconds"), one, strict=False))
        for one in works.arguments(work, count, seconds)
    ]
    for start in range(0, count, CHUNK):
        task.batch_defer(*calls[start : start + CHUNK])


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.defer(number=number)


def left() -> int:
    return count_of("SELECT COUNT(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")


def kept() -> dict[str, int]:
    return {
        "tasks": ProcrastinateJob.objects.filter(status__in=("succeeded", "failed")).count(),
        "attempts": ProcrastinateEvent.objects.filter(type="started").count(),
        "tracebacks": 0,
    }
