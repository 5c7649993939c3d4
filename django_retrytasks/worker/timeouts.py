"""Call foreign code with a time limit: by a timer signal, by asyncio, by django-q2's guard."""

from __future__ import annotations

import asyncio
import inspect
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, TypeVar

from asgiref.sync import async_to_sync

from django_retrytasks.broker import clusters
from django_retrytasks.exceptions import AttemptTimedOut, Cancelled

from .stopping import Stop, can_interrupt, obey_signal

T = TypeVar("T")

# A function that swallows the exception of its timeout is interrupted again after so many seconds.
INTERRUPT_AGAIN: Final = 1.0
# Seconds for other foreign code: the exception, the return value, the backoff.
BRIEF: Final = 5.0
# An event loop that calls a timer later than by so many seconds has stood still.
STANDSTILL: Final = 0.25
# The clocks of the timer and of the process may differ by so many seconds.
TICK: Final = 0.001


def call_within(
    timeout: float | None, stop: Stop, func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Call a function, and await its value if it is awaitable, within ``timeout`` seconds.

    Raises:
        Cancelled: inside the function, when ``stop`` is wanted; again whenever it is.
        AttemptTimedOut: inside the function, when the time is over; again every second while the
            function swallows it; and after the function, if it returns late. Without a timer
            signal, or outside the main thread, only awaiting is interrupted.
    """
    began = time.monotonic()
    with guarded(timeout):
        value = _interrupted_after(timeout, partial(stop.call, partial(func, *args, **kwargs)))
        if not inspect.isawaitable(value):
            return value
        passed = time.monotonic() - began
        return async_to_sync(_await_within)(value, timeout, passed, stop)


async def call_beside_others(
    seconds: float | None, stop: Stop, func: Callable[..., Any], /, *args: Any, **kwargs: Any
) -> Any:
    """Call and await a function within some seconds, on an event loop that others use too.

    Raises:
        Cancelled: as :func:`call_within`, in an await.
        AttemptTimedOut: as :func:`call_within`, in an await. Time for which the loop stands still
            does not count: another function may be the reason.
    """
    began = time.monotonic()
    stop.obey()
    value = func(*args, **kwargs)
    if not inspect.isawaitable(value):
        return value
    return await _await_within(value, seconds, time.monotonic() - began, stop, excuses=True)


def call_briefly(call: Callable[[], T], seconds: float = BRIEF) -> T:
    """Call foreign code that must not take long.

    Raises:
        AttemptTimedOut: it took longer than ``seconds``. Without a timer signal, or outside the
            main thread, it is not interrupted.
    """
    with guarded(seconds):
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


def guarded(timeout: float | None) -> AbstractContextManager[None]:
    """Let django-q2's guard end this worker if the exception of the timeout does not.

    Args:
        timeout: seconds until the exception, below 0 after it; None: there is no timeout.
    """
    return nullcontext() if timeout is None else _guarded(timeout)


@contextmanager
def _guarded(timeout: float) -> Iterator[None]:
    clusters.set_guard(timeout + clusters.GRACE)
    try:
        yield
    finally:
        clusters.set_guard(None)


async def _await_within(
    value: Awaitable[Any], seconds: float | None, passed: float, stop: Stop, excuses: bool = False
) -> Any:
    limit = _Limit(seconds, passed, stop, excuses)
    try:
        result = await value
    except (asyncio.CancelledError, TimeoutError) as error:
        if limit.error:
            raise limit.error from error
        raise
    finally:
        limit.end()
    if limit.error:
        raise limit.error
    return result


class _Limit:
    """Cancels the current asyncio task after some seconds, and again every second; or as told.

    Args:
        timeout: seconds until the first time; None: only as told.
        passed: how many of them have passed.
        stop: tells to cancel it.
        excuses: whether the task runs beside others, and time for which the loop stood still does
            not count.

    Attributes:
        error: why it was cancelled; None: it was not.
    """

    def __init__(self, timeout: float | None, passed: float, stop: Stop, excuses: bool) -> None:
        self.error: AttemptTimedOut | Cancelled | None = None
        self._count = 0
        self._is_ended = False
        self._excuses = excuses
        self._stop = stop
        self._task: Any = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._timeout = timeout
        stop.open(self._tell, arms=not excuses)
        if timeout is not None:
            self._wait(max(timeout - passed, 0.0))

    def end(self) -> None:
        """Cancel no more."""
        self._is_ended = True
        self._stop.close()
        if self._timer:
            self._timer.cancel()
        for _ in range(self._count):
            self._task.uncancel()

    def _wait(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self._interrupt, self._loop.time() + seconds)

    def _interrupt(self, due: float) -> None:
        late = self._loop.time() - due
        if late > STANDSTILL and self._excuses and self.error is None:
            self._wait(late)
            return
        self._cancel(AttemptTimedOut(self._timeout or 0))
        self._wait(INTERRUPT_AGAIN)

    def _tell(self) -> None:
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._obey)

    def _obey(self) -> None:
        if not self._is_ended:  # the loop was told before
            self._cancel(Cancelled(self._stop.note or ""))

    def _cancel(self, error: AttemptTimedOut | Cancelled) -> None:
        self.error = self.error or error
        self._count += self._task.cancel()


def _interrupted_after(timeout: float | None, call: Callable[[], T]) -> T:
    if timeout is None:
        return call()
    expired, began = False, time.monotonic()

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal expired
        obey_signal()
        if time.monotonic() - began < timeout - TICK:
            return
        expired = True
        raise AttemptTimedOut(timeout)

    value = with_timer(timeout, interrupt, call)
    if expired:
        raise AttemptTimedOut(timeout)
    return value


def with_timer(seconds: float, interrupt: Callable[[int, Any], None], call: Callable[[], T]) -> T:
    """Call a function; meanwhile handle a timer signal after ``seconds``, and again every second.

    Args:
        seconds: until the first signal.
        interrupt: the handler; what it raises is raised in the code that runs.
        call: the function. Without a timer signal, or outside the main thread, it is only called.
    """
    if not can_interrupt():
        return call()
    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, interrupt)
    outer = signal.getitimer(signal.ITIMER_REAL)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, seconds, INTERRUPT_AGAIN)
            return call()
        finally:
            # If the time is over at this very line, the next interrupt is still a second away.
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, handler)
        _go_on(outer, time.monotonic() - began)


def _go_on(timer: tuple[float, float], passed: float) -> None:
    """Restore the caller's timer: an attempt with a timeout may run another Task inline."""
    left, interval = timer
    signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.001) if left else 0, interval)
