"""django-retrytasks, whose Tasks are coroutines: one at a time, or many at once."""

from __future__ import annotations

import asyncio

from benchmarks.measuring.records import record
from benchmarks.peers.door import RefusalError
from benchmarks.peers.retrytasks import empty, kept, left, prepare
from django_retrytasks import retry_task

__all__ = ["empty", "kept", "left", "prepare"]

AT_ONCE = 20


@retry_task
async def waits(number: int, seconds: float) -> None:
    record(number)
    await asyncio.sleep(seconds)


try:

    @retry_task(concurrency=AT_ONCE)
    async def waits_together(number: int, seconds: float) -> None:
        record(number)
        await asyncio.sleep(seconds)

except TypeError:
    waits_together = None


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"waits": waits, "waits_together": waits_together}[work]
    if task is None:
        raise RefusalError(f"retry_task refuses concurrency={AT_ONCE}")
    task.enqueue_many([(number, seconds) for number in range(count)])
