"""Named tasks, one per behaviour."""

import asyncio
import os
import signal
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task


@retry_task
def succeeds() -> None:
    """Return nothing."""


@retry_task(max_retries=3, countdown=5)
def echoes(value: Any = None, *, other: Any = None) -> Any:
    return value if other is None else [value, other]


@retry_task(max_retries=3, countdown=5, jitter=False)
def always_fails(message: str = "no luck") -> None:
    raise ConnectionError(message)


@retry_task(max_retries=0)
def fails_once_for_all() -> None:
    raise ValueError("not today")


@retry_task(max_retries=3, countdown=0.2, backoff=1, jitter=False)
def fails_soon_again() -> None:
    raise ConnectionError("no luck")


@retry_task(max_retries=3, countdown=0)
def fails_at_once_again() -> None:
    raise ConnectionError("no luck")


@retry_task(bind=True, max_retries=5, countdown=0)
def fails_twice(self: RetryTaskContext) -> int:
    if self.retry_count < 2:
        raise ConnectionError(f"attempt {self.attempt}")
    return self.attempt


@retry_task(bind=True, max_retries=3)
def celery_shaped(self: RetryTaskContext, email: str) -> None:
    try:
        raise ConnectionError(f"no server for {email}")
    except Exception as exc:
        raise self.retry(exc=exc, countdown=5)


@retry_task(bind=True, max_retries=3)
def retries_without_exc(self: RetryTaskContext) -> None:
    try:
        raise ConnectionError("refused")
    except ConnectionError:
        self.retry(countdown=7)


@retry_task(bind=True, max_retries=3)
def retries_at(self: RetryTaskContext, eta: datetime) -> None:
    raise self.retry(exc=ConnectionError("later"), eta=eta)


@retry_task(bind=True, max_retries=3)
def retries_for_a_while(self: RetryTaskContext, max_retries: int) -> None:
    raise self.retry(exc=ConnectionError("again"), countdown=1, max_retries=max_retries)


@retry_task(bind=True)
def tells_request(self: RetryTaskContext) -> list[Any]:
    return [self.request.id, self.request.retries, self.idempotency_key, self.max_retries]


@retry_task(retry_on=(OSError,), no_retry_on=(FileNotFoundError,), countdown=1)
def raises(name: str) -> None:
    raise {"OSError": OSError, "FileNotFoundError": FileNotFoundError, "ValueError": ValueError}[
        name
    ]("as asked")


@retry_task
def discards() -> None:
    raise Discard("no such order")


@retry_task(bind=True, max_retries=0)
def snoozes_once(self: RetryTaskContext) -> str:
    if self.attempt == 1:
        raise Snooze(60)
    return "awake"


@retry_task
def returns_unstorable() -> object:
    return object()


@retry_task
async def waits_and_returns(value: int) -> int:
    await asyncio.sleep(0)
    return value


@retry_task(timeout=0.2, max_retries=1, countdown=0)
async def sleeps_asynchronously(seconds: float) -> None:
    await asyncio.sleep(seconds)


@retry_task(timeout=0.3, max_retries=1, countdown=0)
def sleeps(seconds: float) -> None:
    time.sleep(seconds)


@retry_task(timeout=0.3, max_retries=0)
def swallows_exceptions(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            time.sleep(0.05)
        except Exception:  # noqa: S110
            pass


@retry_task(timeout=0.3, max_retries=0)
def swallows_everything() -> str:
    try:
        time.sleep(5)
    except BaseException:  # noqa: S110
        pass
    return "done all the same"


@retry_task(max_retries=0)
def raises_exception_with_broken_str() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("even this fails")

    raise Broken


@retry_task(max_retries=0)
def raises_message(text: str, times: int = 1) -> None:
    raise ValueError(text * times)


@retry_task(max_retries=0)
def raises_from_cause() -> None:
    try:
        raise KeyError("the cause")
    except KeyError as error:
        raise ValueError("the effect") from error


@retry_task(max_retries=3, countdown=1)
def exits() -> None:
    raise SystemExit(3)


@retry_task(max_retries=3, countdown=0)
def breaks_its_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nothing FROM nowhere")


@retry_task(max_retries=3, countdown=0)
def kills_its_worker(directory: str) -> None:
    """Note the start, then die as a process killed for its memory does."""
    note(directory, "start")
    os.kill(os.getpid(), signal.SIGKILL)


@retry_task
def notes(directory: str, text: str = "ran") -> None:
    note(directory, text)


@retry_task(max_retries=3, countdown=0)
def sleeps_noting(directory: str, seconds: float) -> None:
    note(directory, "start")
    time.sleep(seconds)
    note(directory, "end")


def note(directory: str, text: str) -> None:
    """Add a line of its own file, so that no two processes write to one."""
    path = Path(directory) / f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}"
    path.write_text(text)


def noted(directory: str | Path) -> list[str]:
    """Return what was noted, in order of time."""
    return [path.read_text() for path in sorted(Path(directory).iterdir())]
