"""Interrupt a function while it runs, from another thread: its Task was cancelled.

A function in the main thread gets a signal, that of the timeouts. If the signal comes too late, it
finds another function, or none, and does nothing.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from django_retrytasks.broker import clusters
from django_retrytasks.exceptions import Cancelled

T = TypeVar("T")


class Stop:
    """The way to interrupt one function.

    Attributes:
        note: why it is to stop, in words; None: it may go on.
    """

    def __init__(self) -> None:
        self.note: str | None = None
        self._was_raised = False
        self._lock = threading.Lock()
        self._reach: Callable[[], object] | None = None
        self._arms = False
        self._is_armed = False

    def want(self, note: str) -> None:
        """Interrupt the function, from any thread; call it again each second.

        If the function does not end within the grace, django-q2's guard ends the worker.
        """
        with self._lock:
            self.note = note
            if self._reach is None:
                return
            if self._arms and not self._is_armed:
                self._is_armed = True
                clusters.set_guard(clusters.GRACE)
            self._reach()

    def obey(self) -> None:
        """Raise Cancelled if the function is to stop."""
        if self.note is not None:
            self._was_raised = True
            raise Cancelled(self.note)

    def open(self, reach: Callable[[], object], *, arms: bool) -> None:
        """Let ``reach`` interrupt the function from now on; ``arms``: and the guard wait for it."""
        self._arms = arms
        self._reach = reach

    def close(self) -> None:
        """Interrupt no more: the function has ended."""
        with self._lock:
            self._reach = None
            if self._is_armed:
                self._is_armed = False
                clusters.set_guard(None)

    def call(self, func: Callable[[], T]) -> T:
        """Call a function in this thread; if it is the main one, a signal can interrupt it.

        Raises:
            Cancelled: inside the function; and after it, if it swallowed that.
        """
        if not can_interrupt():
            return func()
        self.obey()
        outer = len(_called)
        try:
            _called.append(self)
            self.open(_knock, arms=True)
            value = func()
        finally:
            # First of all: from here on, a signal raises nothing.
            del _called[outer:]
            self.close()
        if self._was_raised:
            self.obey()
        return value


# Those whose functions the main thread runs: each but the first is run inline by the one before.
_called: list[Stop] = []
# Whether the next signal is one of ours.
_knocked = False


def obey_signal() -> bool:
    """Raise Cancelled if the function that a signal interrupted is to stop, or one that runs it.

    Return whether the signal was ours, for a function that has ended since.
    """
    global _knocked
    is_ours, _knocked = _knocked, False
    for stop in _called:
        stop.obey()
    return is_ours


@contextmanager
def hearing() -> Iterator[None]:
    """Let functions that the body calls be interrupted from another thread."""
    if not can_interrupt():
        yield
        return
    before = signal.getsignal(signal.SIGALRM) or signal.SIG_DFL
    signal.signal(signal.SIGALRM, partial(_hear, before))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def can_interrupt() -> bool:
    """Whether a signal can interrupt this thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and hasattr(signal, "setitimer")


def _hear(before: Any, signum: int, frame: Any) -> None:
    if not obey_signal() and callable(before):
        before(signum, frame)


def _knock() -> None:
    global _knocked
    # A function may have taken the handler away: then the signal would end the process.
    if callable(signal.getsignal(signal.SIGALRM)):
        _knocked = True
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
