"""A function is interrupted from another thread between its first and last line, and only there."""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from django_retrytasks.exceptions import AttemptTimedOut, Cancelled
from django_retrytasks.worker.stopping import Stop, hearing
from django_retrytasks.worker.timeouts import call_within


class Nagger:
    """A thread that wants one function after the other stopped, again and again, without a rest."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self._is_over = False
        self._thread = threading.Thread(target=self._nag)

    def __enter__(self) -> Nagger:
        self._thread.start()
        return self

    def __exit__(self, *details: Any) -> None:
        self._is_over = True
        self._thread.join()

    def _nag(self) -> None:
        while not self._is_over:
            if stop := self.stop:
                stop.want("cancelled")
            time.sleep(0)


def keep_busy(seconds: float) -> bool:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
    return True


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_neither_the_next_function_nor_our_own_code_is_interrupted(timeout: float | None) -> None:
    before, cancelled = signal.getsignal(signal.SIGALRM), 0

    with Nagger() as nagger, hearing():
        for step in range(400):
            nagger.stop = stop = Stop()
            try:
                call_within(timeout, stop, keep_busy, step % 20 * 0.0001)
            except Cancelled:
                cancelled += 1
            assert keep_busy(0.0002)  # our own code, while the one before is still wanted stopped
            assert call_within(timeout, Stop(), keep_busy, 0.0005)

    assert cancelled > 50
    assert signal.getsignal(signal.SIGALRM) is before


def test_a_callers_own_timer_still_reaches_the_caller() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda signum, frame: heard.append(signum))
    outer = signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with hearing():
            call_within(None, Stop(), keep_busy, 0.2)
    finally:
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *outer)

    assert heard == [signal.SIGALRM]


def test_a_function_in_another_thread_is_not_interrupted_and_nor_is_this_one() -> None:
    stop, ended = Stop(), []
    thread = threading.Thread(target=lambda: ended.append(stop.call(lambda: keep_busy(0.3))))

    with hearing():
        thread.start()
        for _ in range(20):
            stop.want("cancelled")
            assert keep_busy(0.005)
        thread.join()

    assert ended == [True]


def test_one_that_is_to_stop_before_it_begins_does_not_begin() -> None:
    stop, begun = Stop(), list[int]()
    stop.want("cancelled")

    with pytest.raises(Cancelled), hearing():
        call_within(None, stop, begun.append, 1)

    assert begun == []


def test_one_that_is_interrupted_before_its_first_line_has_ended() -> None:
    class Early(Stop):
        def open(self, *args: Any, **options: Any) -> None:
            super().open(*args, **options)
            self.want("cancelled")
            keep_busy(0.05)

    stop = Early()
    with hearing():
        with pytest.raises(Cancelled):
            call_within(None, stop, keep_busy, 5)
        for _ in range(20):
            stop.want("cancelled")
            assert keep_busy(0.005)


def test_the_time_limit_of_a_function_holds_beside_its_cancel() -> None:
    with hearing(), pytest.raises(AttemptTimedOut):
        call_within(0.1, Stop(), keep_busy, 5)
