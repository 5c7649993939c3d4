"""django-retrytasks, whose Tasks are coroutines: one at a time, or many at once."""

from __future__ import annotations

import asyncio

from benchmarks.measuring.records import record
from benchmarks.peers.retrytasks import empty, kept, left, prepare
from django_retrytasks import retry_task

__all__ = ["empty", "kept", "left", "prepare"]


@retry_task
async def waits(number: int, seconds: float) -> None:
    record(number)
    await asyncio.sleep(seconds)


@retry_task(concurrency=20)
async def waits_together(number: int, seconds: float) -> None:
    record(number)
    await asyncio.sleep(seconds)


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"waits": waits, "waits_together": waits_together}[work]
    task.enqueue_many([(number, seconds) for number in range(count)])
