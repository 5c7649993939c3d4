"""Huey with Redis, two worker processes."""

from __future__ import annotations

from huey import RedisHuey

from benchmarks.peers import keys, works

huey = RedisHuey(keys.NAME, url=keys.URL, results=False)


@huey.task()
def nothing(number: int) -> None:
    works.nothing(number)


@huey.task()
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


@huey.task(retries=works.RETRIES, retry_delay=0)
def fails(number: int) -> None:
    works.fails(number)


def prepare() -> None:
    """Nothing: Redis has no tables."""


def empty() -> None:
    keys.delete()


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    for arguments in works.arguments(work, count, seconds):
        task(*arguments)


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing(number)


def left() -> int:
    return int(huey.pending_count())


def kept() -> dict[str, int]:
    return {"tasks": 0, "attempts": 0, "tracebacks": 0}
