"""Named tasks, one per behaviour."""

import asyncio
import ctypes
import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from django.contrib.auth.models import Group
from django.db import connection, transaction

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task
from django_retrytasks.signals import task_succeeded
from django_retrytasks.values.contract import Task as ContractTask


@retry_task
def succeeds() -> None:
    """Return nothing."""


@retry_task(max_retries=3, countdown=5)
def echoes(value: Any = None, *, other: Any = None) -> Any:
    return value if other is None else [value, other]


@retry_task(max_retries=0, search_key="order")
def ships(order: Any, *, fails: bool = False) -> None:
    if fails:
        raise LookupError(f"no stock for {order}")


@retry_task(max_retries=3, countdown=5, jitter=False)
def fails_in_a_library() -> None:
    json.loads("no luck")


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
        with suppress(Exception):
            time.sleep(0.05)


@retry_task(timeout=0.3, max_retries=0)
def swallows_everything() -> str:
    with suppress(BaseException):
        time.sleep(5)
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


@retry_task(max_retries=3, countdown=0)
def runs_until_told(directory: str) -> None:
    """Note the start, wait until somebody notes "go on", and note the end."""
    note(directory, "start")
    until = time.monotonic() + 60
    while "go on" not in noted(directory):
        assert time.monotonic() < until
        time.sleep(0.02)
    note(directory, "end")


@retry_task(bind=True, max_retries=1, countdown=0.7, backoff=1, jitter=False)
def fails_at_first(self: RetryTaskContext) -> None:
    if self.attempt == 1:
        raise ConnectionError("no luck at first")


@retry_task(bind=True, max_retries=3, countdown=0)
def waits_at_first(self: RetryTaskContext, directory: str, seconds: float) -> None:
    """Note the process; let the first attempt wait to be killed or frozen."""
    note(directory, str(os.getpid()))
    if self.attempt == 1:
        time.sleep(seconds)


@retry_task(timeout=1, max_retries=0)
def hangs_in_c() -> None:
    """Lock a mutex twice: no signal handler of Python's can run before that returns."""
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)


@retry_task
def connects_a_receiver_that_hangs(seconds: float) -> None:
    """Have the next success in this process told to a receiver that takes so long, once."""

    def hang(**details: Any) -> None:
        task_succeeded.disconnect(hang)
        time.sleep(seconds)

    task_succeeded.connect(hang, weak=False)


@retry_task
def tells_cluster() -> str | None:
    return os.environ.get("Q_CLUSTER_NAME")


@retry_task
def counts(directory: str, number: int) -> None:
    """Add a line to the process's own file."""
    with (Path(directory) / str(os.getpid())).open("a") as lines:
        lines.write(f"{number}\n")


def not_decorated(text: str) -> None:
    raise ConnectionError(text)


def plain_task(function: Callable[..., Any]) -> Any:
    """Return what ``@task`` makes on another backend than ours."""
    return ContractTask(
        func=function, priority=0, backend="default", queue_name="default", run_after=None
    )


@retry_task(timeout=0.1, max_retries=0)
async def swallows_cancellation() -> str:
    with suppress(BaseException):
        await asyncio.sleep(5)
    return "done all the same"


def hundred_seconds_an_error(exception: BaseException, task_result: Any) -> int | None:
    """Wait for 100 s after the first error, and give up at the second."""
    errors = len(task_result.errors)
    return 100 if errors == 1 and isinstance(exception, ConnectionError) else None


@retry_task(backoff=hundred_seconds_an_error)
def backs_off_by_its_errors() -> None:
    raise ConnectionError


@retry_task(takes_context=True)
def takes_context_too(context: RetryTaskContext, value: int) -> list[int]:
    return [context.attempt, value]


@retry_task
def is_interrupted() -> None:
    raise KeyboardInterrupt


@retry_task
def returns_text(length: int) -> str:
    return "x" * length


@retry_task(max_retries=0)
async def times_out_by_itself() -> None:
    async with asyncio.timeout(0.01):
        await asyncio.sleep(5)


@retry_task(bind=True, max_retries=3, countdown=0)
def tells_context(self: RetryTaskContext) -> dict[str, Any]:
    """Fail twice, then tell all that the context says."""
    if self.retry_count < 2:
        raise ConnectionError
    return {
        "attempt": self.attempt,
        "retry_count": self.retry_count,
        "max_retries": self.max_retries,
        "request": [self.request.id, self.request.retries],
        "idempotency_key": self.idempotency_key,
        "attempts": self.task_result.attempts,
        "errors": [error.exception_class_path for error in self.task_result.errors],
    }


@retry_task(max_retries=3, countdown=0)
def freezes_its_worker(directory: str) -> None:
    """Note the process, then stop it until it is told to go on; the first time only."""
    if not any(map(str.isdigit, noted(directory))):
        note(directory, str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)


def note(directory: str, text: str) -> None:
    """Add a line of its own file, so that no two processes write to one."""
    path = Path(directory) / f"{time.time_ns()}-{os.getpid()}-{os.urandom(4).hex()}"
    path.write_text(text)


def noted(directory: str | Path) -> list[str]:
    """Return what was noted, in order of time."""
    return [path.read_text() for path in sorted(Path(directory).iterdir())]


def counted(directory: str | Path) -> list[int]:
    """Return what was counted, in order of size."""
    return sorted(int(n) for path in Path(directory).iterdir() for n in path.read_text().split())


@retry_task(max_retries=1, countdown=0)
def breaks_after_writing(name: str) -> None:
    """Write a row, then leave a transaction, if it is in one, to be rolled back."""
    Group.objects.create(name=name)
    with transaction.atomic(savepoint=False):
        raise ConnectionError("in a transaction")


@retry_task
def naps(seconds: float) -> None:
    time.sleep(seconds)


@retry_task
def tells_time() -> float:
    return time.time()


@retry_task
def adds_group(name: str) -> None:
    Group.objects.create(name=name)
