"""Attempts that take too long are interrupted."""

import multiprocessing
import signal
import time
from contextlib import suppress
from typing import Any

import pytest

from django_retrytasks.broker import clusters
from django_retrytasks.exceptions import AttemptTimedOut
from django_retrytasks.models import Status
from django_retrytasks.policy import StopReason
from django_retrytasks.worker.pace import pace
from django_retrytasks.worker.stopping import Stop
from django_retrytasks.worker.timeouts import call_within
from tests.support import tasks, together
from tests.support.driver import Driver, Outcome

pytestmark = pytest.mark.django_db


class TestTimeouts:
    def test_a_function_is_interrupted(self, driver: Driver) -> None:
        result = tasks.sleeps.using(max_retries=0).enqueue(5)

        started = time.monotonic()
        driver.run_due()

        assert time.monotonic() - started < 3
        row, [attempt] = driver.row(result), driver.attempts(result)
        assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.MAX_RETRIES)
        assert attempt.outcome == Outcome.TIMED_OUT
        path = "django_retrytasks.exceptions.AttemptTimedOut"
        assert attempt.exception_class_path == path
        message = "the attempt ran longer than its timeout of 0.3 s"
        assert attempt.exception_message == message

    def test_it_is_retried_like_any_failure(self, driver: Driver) -> None:
        result = tasks.sleeps.enqueue(5)

        driver.drain()

        assert [a.outcome for a in driver.attempts(result)] == ["TIMED_OUT", "TIMED_OUT"]

    @pytest.mark.parametrize(
        "enqueue",
        [
            pytest.param(lambda: tasks.swallows_exceptions.enqueue(5), id="Exception"),
            pytest.param(lambda: tasks.swallows_everything.enqueue(), id="BaseException"),
        ],
    )
    def test_swallowing_exceptions_does_not_help(self, driver: Driver, enqueue: Any) -> None:
        result = enqueue()

        driver.run_due()

        assert [a.outcome for a in driver.attempts(result)] == ["TIMED_OUT"]

    def test_a_coroutine_is_cancelled(self, driver: Driver) -> None:
        result = tasks.sleeps_asynchronously.using(max_retries=0).enqueue(5)

        driver.run_due()

        assert [a.outcome for a in driver.attempts(result)] == ["TIMED_OUT"]

    def test_a_coroutine_that_swallows_its_cancellation_is_timed_out(self, driver: Driver) -> None:
        result = tasks.swallows_cancellation.enqueue()

        driver.run_due()

        assert [a.outcome for a in driver.attempts(result)] == ["TIMED_OUT"]

    def test_a_time_out_error_of_the_coroutine_itself_is_a_failure(self, driver: Driver) -> None:
        result = tasks.times_out_by_itself.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.outcome == Outcome.FAILED
        assert attempt.exception_class_path == "builtins.TimeoutError"

    def test_the_timer_is_the_callers_again_however_close_the_end_was(self) -> None:
        before = signal.getsignal(signal.SIGALRM)
        callers, _ = signal.getitimer(signal.ITIMER_REAL)

        for step in range(1000):
            with suppress(AttemptTimedOut):
                call_within(0.0005, Stop(), keep_busy, 0.00048 + step % 50 * 0.0000005)

            assert signal.getsignal(signal.SIGALRM) is before
            left, interval = signal.getitimer(signal.ITIMER_REAL)
            assert interval == 0
            assert callers - 60 < left <= callers

    def test_one_in_time_is_left_alone(self, driver: Driver) -> None:
        result = tasks.sleeps.enqueue(0.01)

        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED


class TestGuard:
    @pytest.mark.django_db(transaction=True)
    def test_it_counts_on_while_all_of_them_go_on_beyond_their_time(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timer = Timer()
        monkeypatch.setattr(multiprocessing.current_process(), "timer", timer, raising=False)
        for _ in range(60):
            pace.note(0.0001)
        together.swallows.enqueue_many([(2,), (4,), (5,)])

        driver.run_due()

        last = [value for value in timer.values if 0 <= value <= clusters.GRACE]
        assert last == sorted(last, reverse=True)
        assert last[0] == clusters.GRACE > clusters.GRACE - 1 >= last[-1]

    def test_it_ends_a_worker_whose_time_is_over(self, monkeypatch: pytest.MonkeyPatch) -> None:
        timer = Timer()
        monkeypatch.setattr(multiprocessing.current_process(), "timer", timer, raising=False)

        clusters.set_guard(-0.5)
        clusters.set_guard(-3)

        assert timer.values == [0, 0]


class Timer:
    """The timer that django-q2's guard of a worker counts down; it keeps what it was set to."""

    def __init__(self) -> None:
        self.values: list[int] = []

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "value":
            self.values.append(value)
        else:
            super().__setattr__(name, value)


def keep_busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
