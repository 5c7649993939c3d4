"""Call foreign code with a time limit: by a timer signal, by asyncio, by django-q2's guard."""

from __future__ import annotations

import asyncio
import inspect
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar

from asgiref.sync import async_to_sync

from django_retrytasks.broker import clusters
from django_retrytasks.exceptions import AttemptTimedOut

T = TypeVar("T")

# A function that swallows the exception of its timeout is interrupted again after so many seconds.
INTERRUPT_AGAIN: Final = 1.0
# Seconds for other foreign code: the exception, the return value, the backoff.
BRIEF: Final = 5.0


def call_within(
    timeout: float | None, func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Call a function, and await its value if it is awaitable, within ``timeout`` seconds.

    Raises:
        AttemptTimedOut: inside the function, when the time is over; again every second while the
            function swallows it; and after the function, if it returns late. Without a timer
            signal, or outside the main thread, only awaiting is interrupted.
    """
    began = time.monotonic()
    with _guarded(timeout):
        value = _interrupted_after(timeout, partial(func, *args, **kwargs))
        if not inspect.isawaitable(value):
            return value
        passed = time.monotonic() - began
        return async_to_sync(_await_within)(value, timeout, passed)


def call_briefly(call: Callable[[], T], seconds: float = BRIEF) -> T:
    """Call foreign code that must not take long.

    Raises:
        AttemptTimedOut: it took longer than ``seconds``. Without a timer signal, or outside the
            main thread, it is not interrupted.
    """
    with _guarded(seconds):
        return _interrupted_after(seconds, call)


def briefly_or(
    otherwise: Callable[[BaseException], T], call: Callable[[], T], seconds: float = BRIEF
) -> T:
    """Call foreign code as :func:`call_briefly` does; on an exception return ``otherwise(error)``.

    A KeyboardInterrupt is raised all the same.
    """
    try:
        return call_briefly(call, seconds)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return otherwise(error)


@contextmanager
def _guarded(timeout: float | None) -> Iterator[None]:
    """Let django-q2's guard end this worker if the exception of the timeout does not."""
    if timeout is None:
        yield
        return
    clusters.set_guard(timeout + clusters.GRACE)
    try:
        yield
    finally:
        clusters.set_guard(None)


async def _await_within(value: Awaitable[Any], seconds: float | None, passed: float) -> Any:
    left = None if seconds is None else max(seconds - passed, 0.0)
    try:
        async with asyncio.timeout(left) as limit:
            result = await value
    except TimeoutError as error:
        if limit.expired() and seconds is not None:
            raise AttemptTimedOut(seconds) from error
        raise
    if limit.expired() and seconds is not None:
        raise AttemptTimedOut(seconds)
    return result


def _interrupted_after(timeout: float | None, call: Callable[[], T]) -> T:
    if timeout is None or not _can_interrupt():
        return call()
    expired = False

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal expired
        expired = True
        raise AttemptTimedOut(timeout)

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, interrupt)
    outer = signal.getitimer(signal.ITIMER_REAL)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, timeout, INTERRUPT_AGAIN)
            value = call()
        finally:
            # If the time is over at this very line, the next interrupt is still a second away.
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        _go_on(outer, time.monotonic() - began)
    if expired:
        raise AttemptTimedOut(timeout)
    return value


def _go_on(timer: tuple[float, float], passed: float) -> None:
    """Restore the caller's timer: an attempt with a timeout may run another Task inline."""
    left, interval = timer
    signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001) if left else 0, interval)


def _can_interrupt() -> bool:
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and hasattr(signal, "setitimer")
