"""A cancel arrives in the running function, and only there."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.signals import attempt_failed, task_succeeded
from django_retrytasks.worker.pace import pace
from tests.support import around, cancels, tasks
from tests.support.driver import Driver, Outcome, Session, in_another_session, received

pytestmark = pytest.mark.django_db(transaction=True)

NOTE = "cancelled by anna: wrong file"
PATH = "django_retrytasks.exceptions.Cancelled"


@pytest.fixture(autouse=True)
def unseen(settings: Any) -> None:
    cancels.begun.clear()
    cancels.seen.clear()
    # Two beats after the first one of a function at most, on a busy machine too.
    settings.RETRYTASKS = {"LEASE": 8}


@pytest.fixture
def many_at_once() -> Iterator[None]:
    """Have the worker of this process claim many Tasks at once."""
    before = vars(pace).copy()
    for _ in range(60):
        pace.note(0.0001)
    yield
    vars(pace).update(before)


def cancel_once_begun(result: Any) -> Session:
    """Cancel a Task, from another session, when a function of ``cancels`` runs."""

    def cancel() -> int:
        assert cancels.begun.wait(20)
        return lifecycle.cancel([uuid.UUID(result.id)], by="anna", reason="wrong\n file")

    return in_another_session(cancel)


def run_and_cancel(driver: Driver, result: Any) -> float:
    """Run what is due, and cancel a Task meanwhile; return the seconds that it took."""
    session, began = cancel_once_begun(result), time.monotonic()
    driver.run_due()
    assert session.result() == 1
    return time.monotonic() - began


def is_cancelled(task: Task) -> bool:
    state = (task.status, task.stop_reason, task.stop_note, task.run_after)
    return state == (Status.DISCARDED, StopReason.CANCELLED, NOTE, None)


class TestInterruption:
    @pytest.mark.parametrize(
        "task",
        [cancels.sleeps, cancels.sleeps_asynchronously, cancels.sleeps_within_a_timeout],
        ids=str,
    )
    def test_a_function_is_interrupted_and_the_next_task_runs_at_once(
        self, driver: Driver, task: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        result, following = task.using(priority=1).enqueue(), tasks.echoes.enqueue(1)

        with caplog.at_level(logging.INFO, "django_retrytasks"):
            assert run_and_cancel(driver, result) < 10

        assert is_cancelled(driver.row(result))
        [attempt] = driver.attempts(result)
        assert (attempt.number, attempt.outcome) == (1, Outcome.CANCELLED)
        assert (attempt.decision, attempt.next_run_after) == (NOTE, None)
        assert (attempt.exception_class_path, attempt.exception_message) == (PATH, NOTE)
        assert f"in {task.func.__name__}" in attempt.traceback
        assert "sleep(LONG)" in attempt.traceback
        assert driver.row(following).status == Status.SUCCEEDED
        lines = [record.getMessage() for record in caplog.records if result.id in str(record.args)]
        assert [line.partition(":")[0] for line in lines[-2:]] == [
            "Task cancelled",
            "Task was cancelled and has ended",
        ]
        assert lines[-2].endswith(f" decision={NOTE}")
        assert all(record.levelno <= logging.INFO for record in caplog.records)

    def test_the_attempt_has_no_end_before_the_function(self, driver: Driver) -> None:
        result = cancels.sleeps.enqueue()
        session = cancel_once_begun(result)
        at_cancel: list[Attempt] = []

        def look() -> None:
            session.result()
            at_cancel.extend(driver.attempts(result))

        looked = in_another_session(look)
        driver.run_due()
        looked.result()

        [before], [after] = at_cancel, driver.attempts(result)
        assert before.decision == f"{NOTE}; its end is not known yet"
        assert (before.exception_class_path, before.traceback) == ("", "")
        assert (after.decision, after.pk) == (NOTE, before.pk)
        assert after.finished_at > before.finished_at
        assert driver.row(result).attempt_count == 1

    def test_nobody_hears_of_an_end(self, driver: Driver) -> None:
        result = cancels.sleeps.enqueue()

        with received(attempt_failed) as failed, received(task_succeeded) as succeeded:
            run_and_cancel(driver, result)

        assert failed == succeeded == []
        assert not Task.objects.filter(internal=True).exists()

    def test_its_own_error_is_kept_and_not_retried(self, driver: Driver) -> None:
        result = cancels.turns_it_into_an_error.enqueue()

        run_and_cancel(driver, result)

        [attempt] = driver.attempts(result)
        assert (attempt.outcome, attempt.decision) == (Outcome.CANCELLED, NOTE)
        assert attempt.exception_message == "stopped, somehow"
        assert is_cancelled(driver.row(result))

    def test_what_it_had_in_a_transaction_is_rolled_back(self, driver: Driver) -> None:
        result = cancels.sleeps_in_a_transaction.using(priority=1).enqueue("never")
        following = tasks.echoes.enqueue(1)
        if connection.vendor == "sqlite":
            pytest.skip("there an open transaction locks the database for the one who cancels")

        run_and_cancel(driver, result)

        assert is_cancelled(driver.row(result))
        assert not Group.objects.exists()
        assert driver.row(following).status == Status.SUCCEEDED

    @pytest.mark.parametrize("task", [cancels.swallows, cancels.swallows_asynchronously], ids=str)
    def test_who_swallows_it_is_interrupted_again_each_second(
        self, driver: Driver, task: Any
    ) -> None:
        result = task.enqueue(3)

        assert run_and_cancel(driver, result) < 12

        times = [each[1] if isinstance(each, tuple) else each for each in cancels.seen]
        gaps = [after - before for before, after in pairwise(times)]
        assert len(times) == 3
        assert all(0.9 < gap < 2.5 for gap in gaps)
        assert is_cancelled(driver.row(result))
        [attempt] = driver.attempts(result)
        assert attempt.outcome == Outcome.CANCELLED

    def test_in_its_clean_up_the_function_can_tell(self, driver: Driver) -> None:
        run_and_cancel(driver, cancels.cleans_up.enqueue())

        assert cancels.seen == [True]

    def test_one_that_is_not_interruptible_looks_by_itself(self, driver: Driver) -> None:
        result = cancels.looks.enqueue()

        assert run_and_cancel(driver, result) < 10

        assert cancels.seen == [True]
        [attempt] = driver.attempts(result)
        assert (attempt.outcome, attempt.decision) == (Outcome.CANCELLED, NOTE)
        assert attempt.exception_class_path == ""
        assert is_cancelled(driver.row(result))

    @pytest.mark.parametrize("timeout", [None, 30.0])
    def test_one_that_runs_another_inline_is_interrupted_there(
        self, driver: Driver, settings: Any, timeout: float | None
    ) -> None:
        inline = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        settings.TASKS = {**settings.TASKS, "inline": inline}
        result = cancels.runs_another_inline.enqueue(timeout)

        assert run_and_cancel(driver, result) < 12

        assert is_cancelled(driver.row(result))
        assert [each.outcome for each in driver.attempts(result)] == [Outcome.CANCELLED]
        [other] = cancels.seen
        assert driver.row(other).status == Status.FAILED
        assert driver.attempts(other)[-1].exception_class_path == PATH

    def test_what_the_site_puts_round_it_is_interrupted_too(
        self, driver: Driver, settings: Any
    ) -> None:
        names = [f"{around.HERE}.{name}" for name in ("outer", "leaves_slowly")]
        settings.RETRYTASKS = {**settings.RETRYTASKS, "AROUND": names}
        around.happened.clear()
        result = tasks.succeeds.enqueue()

        assert run_and_cancel(driver, result) < 10

        assert is_cancelled(driver.row(result))
        assert around.happened == ["outer in", "outer out"]

    def test_a_function_without_the_handler_is_left_alone(self, driver: Driver) -> None:
        result = cancels.takes_the_handler_away.enqueue()

        run_and_cancel(driver, result)

        [attempt] = driver.attempts(result)
        assert (attempt.outcome, attempt.exception_class_path) == (Outcome.CANCELLED, "")


@pytest.mark.usefixtures("many_at_once")
class TestBesideOthers:
    def test_only_the_cancelled_one_is_interrupted(self, driver: Driver) -> None:
        [result] = cancels.waits_beside_others.enqueue_many([(cancels.LONG,)])
        others = cancels.waits_beside_others.enqueue_many([(3.0,)] * 4)

        assert run_and_cancel(driver, result) < 10

        assert is_cancelled(driver.row(result))
        assert [a.outcome for a in driver.attempts(result)] == [Outcome.CANCELLED]
        rows = [driver.row(other) for other in others]
        assert [(row.status, row.attempt_count) for row in rows] == [(Status.SUCCEEDED, 1)] * 4

    def test_one_that_blocks_the_loop_is_interrupted_too(self, driver: Driver) -> None:
        [result] = cancels.blocks_beside_others.enqueue_many([(cancels.LONG,)])
        others = cancels.waits_beside_others.enqueue_many([(0.1,)] * 2)

        assert run_and_cancel(driver, result) < 15

        assert is_cancelled(driver.row(result))
        assert [driver.row(other).status for other in others] == [Status.SUCCEEDED] * 2

    def test_one_that_ends_before_its_worker_knows_leaves_its_attempt(self, driver: Driver) -> None:
        result = cancels.cancels_itself.enqueue()

        statuses = driver.run_beside_neighbours(result)

        assert statuses == [Status.SUCCEEDED] * 2
        row, [attempt] = driver.row(result), driver.attempts(result)
        assert (row.status, row.attempt_count) == (Status.DISCARDED, 1)
        assert row.return_value is None
        assert (attempt.number, attempt.outcome) == (1, Outcome.CANCELLED)
        assert attempt.decision == "cancelled by the function"
        assert attempt.finished_at >= attempt.started_at

    def test_one_that_waits_in_the_same_claim_runs_and_leaves_its_attempt(
        self, driver: Driver
    ) -> None:
        victim = tasks.echoes.enqueue(1)
        culprit = cancels.cancels.using(priority=1).enqueue(victim.id)

        assert driver.run_beside_neighbours(victim) == [Status.SUCCEEDED] * 2

        assert driver.row(culprit).status == Status.SUCCEEDED
        row, [attempt] = driver.row(victim), driver.attempts(victim)
        assert (row.status, row.return_value) == (Status.DISCARDED, None)
        assert (attempt.outcome, attempt.decision) == (
            Outcome.CANCELLED,
            "cancelled by a neighbour",
        )


class TestOtherEnds:
    def test_a_claim_that_another_worker_took_over_is_no_cancel(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = tasks.echoes.enqueue(1)
        [task] = driver.claim(limit=1).tasks
        driver.make_due(task)
        driver.claim(limit=1, by="host:2:two")

        assert not lifecycle.heartbeat(task, started_at=timezone.now())

        assert not task.is_cancelled
        assert lifecycle.settle([driver.ending(task)]) == []
        assert "outcome refused: its claim is over" in caplog.text
        assert driver.attempts(result) == []

    def test_of_two_runs_the_cancelled_one_gets_its_own_end(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        [frozen] = driver.claim(limit=1).tasks
        driver.make_due(frozen)
        Task.objects.update(last_attempted_at=None)
        [taken] = driver.claim(limit=1, by="host:2:two").tasks
        lifecycle.release([taken], suspect=True)
        driver.make_due(frozen)
        [second] = driver.claim(limit=1, by="host:2:two").tasks
        lifecycle.cancel([second.pk])

        lifecycle.settle([driver.ending(frozen)])
        [attempt] = driver.attempts(result)
        assert attempt.worker == "host:2:two"
        assert attempt.decision == "cancelled; its end is not known yet"

        lifecycle.settle([driver.ending(second)])
        [attempt] = driver.attempts(result)
        assert (attempt.worker, attempt.decision) == ("host:2:two", "cancelled")

    def test_the_end_may_be_written_twice(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        [task] = driver.claim(limit=1).tasks
        Task.objects.update(last_attempted_at=None)
        lifecycle.cancel([task.pk])

        for _ in range(2):
            assert lifecycle.settle([driver.ending(task)]) == []

        [attempt] = driver.attempts(result)
        assert attempt.outcome == Outcome.CANCELLED
        assert driver.row(result).attempt_count == 1
