"""Task functions that run until somebody cancels them, each in its own way."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import time
import uuid
from pathlib import Path
from threading import Event
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction

from django_retrytasks import Cancelled, lifecycle, retry_task
from django_retrytasks.tasks.context import RetryTaskContext
from tests.support.driver import in_another_session

LONG = 40.0
# Set once a function runs; what functions saw, in order.
begun = Event()
seen: list[Any] = []


@retry_task
def sleeps() -> None:
    begun.set()
    time.sleep(LONG)


@retry_task
async def sleeps_asynchronously() -> None:
    begun.set()
    await asyncio.sleep(LONG)


@retry_task(timeout=LONG)
def sleeps_within_a_timeout() -> None:
    begun.set()
    time.sleep(LONG)


@retry_task
def swallows(times: int) -> str:
    """Swallow so many interruptions, then return."""
    begun.set()
    for _ in range(times):
        try:
            time.sleep(LONG)
        except Cancelled as error:
            seen.append((str(error), time.monotonic()))
    return "done all the same"


@retry_task
async def swallows_asynchronously(times: int) -> str:
    """As :func:`swallows`, in awaits."""
    begun.set()
    for _ in range(times):
        try:
            await asyncio.sleep(LONG)
        except asyncio.CancelledError:
            seen.append(time.monotonic())
    return "done all the same"


@retry_task(bind=True, interruptible=False)
def looks(self: RetryTaskContext) -> str:
    """Go on until the Task is cancelled."""
    begun.set()
    until = time.monotonic() + LONG
    while not self.is_cancelled() and time.monotonic() < until:
        time.sleep(0.01)
    seen.append(self.is_cancelled())
    return "looked"


@retry_task(bind=True)
def cleans_up(self: RetryTaskContext) -> None:
    begun.set()
    try:
        time.sleep(LONG)
    finally:
        seen.append(self.is_cancelled())


@retry_task
def runs_another_inline(timeout: float | None) -> str:
    """Run another Task within this one's call; then go on."""
    seen.append(sleeps.using(backend="inline", timeout=timeout).enqueue())
    time.sleep(LONG)
    return "done"


@retry_task
def sleeps_in_a_transaction(name: str) -> None:
    with transaction.atomic():
        Group.objects.create(name=name)
        begun.set()
        time.sleep(LONG)


@retry_task
def turns_it_into_an_error() -> None:
    begun.set()
    try:
        time.sleep(LONG)
    except BaseException:
        raise ConnectionError("stopped, somehow") from None


@retry_task(bind=True)
def cancels_itself(self: RetryTaskContext) -> str:
    """End before the worker can know of the cancel."""
    cancel_elsewhere(self.request.id, by="the function")
    return "done"


@retry_task
def cancels(other: str) -> str:
    """Cancel another Task of the same claim."""
    cancel_elsewhere(other, by="a neighbour")
    return "done"


@retry_task
def takes_the_handler_away() -> str:
    """Leave the signal of the timers with its default: it would end the process."""
    before = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    begun.set()
    time.sleep(3.5)
    signal.signal(signal.SIGALRM, before)
    return "done"


@retry_task(concurrency=20)
async def waits_beside_others(seconds: float) -> float:
    begun.set()
    await asyncio.sleep(seconds)
    return seconds


@retry_task(concurrency=20)
async def blocks_beside_others(seconds: float) -> None:
    begun.set()
    time.sleep(seconds)  # noqa: ASYNC251


@retry_task(bind=True, max_retries=3, countdown=0)
def sleeps_in_a_process(self: RetryTaskContext, directory: str) -> None:
    """Note the process; then sleep."""
    _note(directory, f"{os.getpid()}")
    time.sleep(LONG)


@retry_task
def notes_process(directory: str) -> None:
    _note(directory, f"{os.getpid()}")


@retry_task(max_retries=3, countdown=0)
def hangs_in_c(directory: str) -> None:
    """Lock a mutex twice: no signal handler of Python's can run before that returns."""
    _note(directory, f"{os.getpid()}")
    lock, mutex = ctypes.CDLL(None).pthread_mutex_lock, ctypes.create_string_buffer(64)
    lock(mutex)
    lock(mutex)


def cancel_elsewhere(task_id: str, **about: str) -> None:
    """Cancel a Task in a session of its own, as another process does."""
    pk = uuid.UUID(task_id)
    in_another_session(lambda: lifecycle.cancel([pk], **about)).result()


def notes_in(directory: str) -> list[int]:
    """Return the noted processes, the first one first."""
    paths = sorted(Path(directory).glob("*.note"), key=lambda path: path.stat().st_mtime_ns)
    return [int(path.read_text()) for path in paths]


def _note(directory: str, text: str) -> None:
    path = Path(directory) / uuid.uuid4().hex
    path.write_text(text)
    path.rename(path.with_suffix(".note"))
