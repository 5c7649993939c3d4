"""A service that a test takes down, and tasks with a breaker that call it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django_retrytasks import Breaker, Discard, Snooze, retry_task


class Overloaded(ConnectionError):
    """A refusal that asks to be left alone for some seconds."""

    def __init__(self, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__("too many requests")


class Service:
    """What answers; ``raises`` is raised in place of an answer, by host or for all."""

    def __init__(self) -> None:
        self.raises: dict[str, BaseException] = {}
        self.calls: Counter[str] = Counter()

    def call(self, host: str = "") -> str:
        self.calls[host] += 1
        error = self.raises.get(host) or self.raises.get("*")
        if error is not None:
            raise error.with_traceback(None)
        return "answered"


service = Service()


@contextmanager
def down(host: str = "*", error: BaseException | None = None) -> Iterator[None]:
    """Let the service raise in the body: a ConnectionError unless another one is given."""
    service.raises[host] = error or ConnectionError("refused")
    try:
        yield
    finally:
        del service.raises[host]


@retry_task(
    max_retries=2,
    countdown=0,
    breaker=Breaker(on=(ConnectionError, Snooze, Discard), failures=3, probe_every=60),
)
def calls() -> str:
    return service.call()


@retry_task(
    max_retries=2,
    countdown=0,
    breaker=Breaker(on=ConnectionError, failures=3, probe_every=60, by="host"),
)
def calls_host(host: str) -> str:
    return service.call(host)


@retry_task(max_retries=2, countdown=0)
def calls_without_breaker() -> str:
    return service.call()


@retry_task(
    max_retries=2, no_retry_on=ConnectionError, breaker=Breaker(on=ConnectionError, probe_every=60)
)
def gives_up() -> str:
    return service.call()


def post(down: str, hang: str = "") -> None:
    """Fail while one file is there; while the other is there, note the process and hang."""
    time.sleep(0.002)
    if Path(down).exists():
        raise ConnectionError("refused")
    while hang and Path(hang).exists():
        Path(hang).write_text(str(os.getpid()))
        time.sleep(0.1)


@retry_task(
    max_retries=2,
    countdown=0.3,
    backoff=1,
    breaker=Breaker(on=ConnectionError, failures=3, probe_every=0.7),
)
def posts(down: str, hang: str = "") -> None:
    post(down, hang)


@retry_task(max_retries=2, countdown=0.3, backoff=1)
def posts_without_breaker(down: str) -> None:
    post(down)


class Unspeakable(ConnectionError):
    """An error whose message hangs."""

    def __str__(self) -> str:
        time.sleep(60)
        return ""


@retry_task(
    unique="order",
    max_retries=5,
    expires=600,
    retry_for=30,
    countdown=0,
    breaker=Breaker(on=ConnectionError, failures=1, probe_every=60),
)
def books(order: int) -> str:
    return service.call()
