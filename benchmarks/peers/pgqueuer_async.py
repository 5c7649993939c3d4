"""pgqueuer on asyncpg, two worker processes; its tasks are coroutines by necessity."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.core.executors import DatabaseRetryEntrypointExecutor
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.peers import works

CHUNK = 1000


async def work(batch_size: int) -> None:
    """Be a worker."""
    queue = PgQueuer(AsyncpgDriver(await _connect()))

    @queue.entrypoint("nothing")
    async def nothing(job: Job) -> None:
        works.nothing(*json.loads(job.payload or b""))

    @queue.entrypoint("sleeps")
    async def sleeps(job: Job) -> None:
        await asyncio.to_thread(works.sleeps, *json.loads(job.payload or b""))

    again = functools.partial(
        DatabaseRetryEntrypointExecutor, max_attempts=works.RETRIES, initial_delay=timedelta()
    )

    @queue.entrypoint("fails", executor_factory=again)
    async def fails(job: Job) -> None:
        works.fails(*json.loads(job.payload or b""))

    await queue.run(batch_size=batch_size)


def _connect() -> Any:
    return asyncpg.connect(os.environ["DATABASE_URL"])


def _asked(ask: Callable[[Any], Awaitable[Any]]) -> Any:
    async def asked() -> Any:
        connection = await _connect()
        try:
            return await ask(connection)
        finally:
            await connection.close()

    return asyncio.run(asked())


def prepare() -> None:
    _asked(lambda connection: Queries(AsyncpgDriver(connection)).install())


def empty() -> None:
    _asked(lambda connection: connection.execute("TRUNCATE pgqueuer, pgqueuer_log"))


def enqueue(work: str, count: int, seconds: float) -> None:
    payloads = [json.dumps(one).encode() for one in works.arguments(work, count, seconds)]

    async def store(connection: Any) -> None:
        queries = Queries(AsyncpgDriver(connection))
        for start in range(0, count, CHUNK):
            chunk = payloads[start : start + CHUNK]
            await queries.enqueue([work] * len(chunk), chunk, [0] * len(chunk))

    _asked(store)


def enqueue_each(count: int) -> None:
    async def store(connection: Any) -> None:
        queries = Queries(AsyncpgDriver(connection))
        for number in range(count):
            await queries.enqueue("nothing", json.dumps([number]).encode())

    _asked(store)


def left() -> int:
    return int(_asked(lambda connection: connection.fetchval("SELECT COUNT(*) FROM pgqueuer")))


def kept() -> dict[str, int]:
    sql = "SELECT COUNT(*) FROM pgqueuer_log WHERE {}"

    def count(which: str) -> int:
        return int(_asked(lambda connection: connection.fetchval(sql.format(which))))

    return {
        "tasks": count("status IN ('successful', 'exception')"),
        "attempts": count("status = 'picked'"),
        "tracebacks": count("traceback IS NOT NULL"),
    }


if __name__ == "__main__":
    # As the others, it logs no failure.
    logging.getLogger("pgqueuer").setLevel(logging.CRITICAL)
    uvloop.run(work(int(sys.argv[1])))
