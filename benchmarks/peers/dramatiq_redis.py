"""Dramatiq with Redis, two processes of eight threads each, its own default."""

from __future__ import annotations

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import keys, works

broker = RedisBroker(url=keys.URL, namespace=keys.NAME)
dramatiq.set_broker(broker)


@dramatiq.actor(max_retries=0)
def nothing(number: int) -> None:
    works.nothing(number)


@dramatiq.actor(max_retries=0)
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


@dramatiq.actor(max_retries=works.RETRIES, min_backoff=0, max_backoff=0)
def fails(number: int) -> None:
    works.fails(number)


def prepare() -> None:
    """Nothing: Redis has no tables."""


def empty() -> None:
    keys.delete()


def enqueue(work: str, count: int, seconds: float) -> None:
    actor = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    for arguments in works.arguments(work, count, seconds):
        actor.send(*arguments)


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.send(number)


def left() -> int:
    """Count the messages: one is deleted when it is acknowledged."""
    return int(broker.client.hlen(f"{keys.NAME}:default.msgs"))


def kept() -> dict[str, int]:
    return {"tasks": 0, "attempts": 0, "tracebacks": 0}
