"""One attempt, from the call to what is told of it."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.broker.clusters import worker_name
from django_retrytasks.models import Status, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver, Outcome

pytestmark = pytest.mark.django_db


class TestTheStory:
    def test_a_task_that_always_fails_runs_four_times_with_three_retries(
        self, driver: Driver
    ) -> None:
        result = tasks.always_fails.enqueue()

        rows = [driver.attempt(result) for _ in range(4)]

        story = [(row.status, row.retry_count, row.attempt_count) for row in rows]
        assert story == [
            (Status.RETRYING, 1, 1),
            (Status.RETRYING, 2, 2),
            (Status.RETRYING, 3, 3),
            (Status.FAILED, 3, 4),
        ]
        assert rows[-1].stop_reason == StopReason.MAX_RETRIES
        attempts = driver.attempts(result)
        assert [(attempt.number, attempt.retry_count) for attempt in attempts] == [
            (1, 0),
            (2, 1),
            (3, 2),
            (4, 3),
        ]
        assert [attempt.decision for attempt in attempts] == [
            "retry 1 of 3 in 5 s",
            "retry 2 of 3 in 10 s",
            "retry 3 of 3 in 20 s",
            "max_retries reached (3 retries)",
        ]

    def test_a_success_at_the_third_attempt_ends_it_at_once(self, driver: Driver) -> None:
        result = tasks.fails_twice.enqueue()

        driver.drain()

        row = driver.row(result)
        assert (row.status, row.return_value, row.retry_count) == (Status.SUCCEEDED, 3, 2)
        assert [a.outcome for a in driver.attempts(result)] == ["FAILED", "FAILED", "SUCCEEDED"]

    def test_an_attempt_row_tells_all_of_it(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue("no server")
        queued_at = driver.row(result).queued_at

        driver.run_due()

        row, [attempt] = driver.row(result), driver.attempts(result)
        assert attempt.outcome == Outcome.FAILED
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.exception_message == "no server"
        assert attempt.traceback.startswith("Traceback (most recent call last):")
        assert "raise ConnectionError(message)" in attempt.traceback
        assert attempt.worker == row.worker == worker_name()
        assert attempt.queued_at == queued_at
        assert queued_at <= attempt.started_at <= attempt.finished_at
        assert attempt.next_run_after == row.run_after
        assert row.claimed_at == row.started_at
        assert row.last_attempted_at == attempt.started_at


class TestOutcomes:
    def test_what_is_returned_comes_back_as_what_it_was(self, driver: Driver) -> None:
        value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "id": uuid.UUID(int=7)}
        result = tasks.echoes.enqueue(value, other=[1, None])

        driver.run_due()
        result.refresh()

        assert result.return_value == [value, [1, None]]

    def test_a_coroutine_function_runs(self, driver: Driver) -> None:
        result = tasks.waits_and_returns.enqueue(42)

        driver.run_due()

        assert driver.row(result).return_value == 42

    def test_an_exception_outside_retry_on_stops(self, driver: Driver) -> None:
        names = ["OSError", "FileNotFoundError", "ValueError"]
        results = tasks.raises.enqueue_many([(name,) for name in names])

        driver.run_due()

        rows = [driver.row(result) for result in results]
        assert [row.stop_reason for row in rows] == ["", "NOT_RETRYABLE", "NOT_RETRYABLE"]
        assert [driver.attempts(result)[0].decision for result in results[1:]] == [
            "FileNotFoundError is in no_retry_on",
            "ValueError is not in retry_on",
        ]

    def test_system_exit_is_a_failure_outside_retry_on(self, driver: Driver) -> None:
        result = tasks.exits.enqueue()

        driver.run_due()

        assert driver.row(result).stop_reason == StopReason.NOT_RETRYABLE
        assert driver.attempts(result)[0].exception_class_path == "builtins.SystemExit"

    def test_keyboard_interrupt_passes_and_the_claim_lapses(self, driver: Driver) -> None:
        result = tasks.is_interrupted.enqueue()

        with pytest.raises(KeyboardInterrupt):
            driver.run_due()

        assert driver.row(result).status == Status.RUNNING
        assert driver.attempts(result) == []

    def test_discard_ends_it_quietly(self, driver: Driver) -> None:
        result = tasks.discards.enqueue()

        driver.run_due()

        row, [attempt] = driver.row(result), driver.attempts(result)
        assert (row.status, row.stop_reason) == (Status.DISCARDED, StopReason.DISCARDED)
        assert (attempt.outcome, attempt.decision) == ("DISCARDED", "discarded: no such order")
        assert not Task.objects.filter(internal=True).exists()

    def test_snooze_runs_it_later_without_spending_a_retry(self, driver: Driver) -> None:
        result = tasks.snoozes_once.enqueue()
        snoozed = driver.attempt(result)

        awake = driver.attempt(result)

        assert (snoozed.status, snoozed.retry_count) == (Status.PENDING, 0)
        assert (awake.status, awake.return_value) == (Status.SUCCEEDED, "awake")
        attempts = driver.attempts(result)
        assert [attempt.outcome for attempt in attempts] == ["SNOOZED", "SUCCEEDED"]
        assert attempts[0].decision == "snoozed for 60 s"
        assert attempts[0].next_run_after == snoozed.run_after

    def test_a_return_value_that_cannot_be_stored_is_not_retried(self, driver: Driver) -> None:
        result = tasks.returns_unstorable.enqueue()

        driver.run_due()

        row, [attempt] = driver.row(result), driver.attempts(result)
        assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.NOT_STORABLE)
        path = "django_retrytasks.exceptions.ResultNotStorable"
        assert attempt.exception_class_path == path
        assert "tests.support.tasks.returns_unstorable: the return value cannot be stored" in (
            attempt.exception_message
        )

    def test_a_return_value_of_over_a_megabyte_is_not_stored(self, driver: Driver) -> None:
        result = tasks.returns_text.enqueue(1024 * 1024)

        driver.run_due()

        assert driver.row(result).stop_reason == StopReason.NOT_STORABLE
        message = driver.attempts(result)[0].exception_message
        assert message.endswith("it takes 1048578 bytes, more than 1048576")


class TestRetryByHand:
    def test_celery_shaped_countdown_means_exactly_that(self, driver: Driver) -> None:
        result = tasks.celery_shaped.enqueue("ann@example.com")

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.decision == "retry 1 of 3 in 5 s"
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.exception_message == "no server for ann@example.com"

    def test_without_exc_the_exception_being_handled_is_the_cause(self, driver: Driver) -> None:
        result = tasks.retries_without_exc.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert (attempt.exception_message, attempt.decision) == ("refused", "retry 1 of 3 in 7 s")

    def test_an_eta_is_the_moment_of_the_retry(self, driver: Driver) -> None:
        eta = timezone.now() + timedelta(hours=2)
        result = tasks.retries_at.enqueue(eta)

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.next_run_after is not None
        assert abs(attempt.next_run_after - eta) < timedelta(seconds=10)

    def test_its_max_retries_holds_for_that_decision(self, driver: Driver) -> None:
        one, five = tasks.retries_for_a_while.enqueue_many([(1,), (5,)])

        driver.drain()

        assert driver.row(one).attempt_count == 2
        assert driver.row(five).attempt_count == 6


class TestCallableBackoff:
    def test_it_is_handed_the_failure_as_the_contract_shows_it(self, driver: Driver) -> None:
        result = tasks.backs_off_by_its_errors.enqueue()

        driver.attempt(result)
        row = driver.attempt(result)

        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 3 in 100 s",
            "backoff returned None",
        ]
        assert row.stop_reason == StopReason.BACKOFF


class TestContext:
    def test_it_says_where_the_task_stands(self, driver: Driver) -> None:
        result = tasks.tells_context.enqueue()

        driver.drain()

        row = driver.row(result)
        assert row.return_value == {
            "attempt": 3,
            "retry_count": 2,
            "max_retries": 3,
            "request": [result.id, 2],
            "idempotency_key": result.id,
            "attempts": 3,
            "errors": ["builtins.ConnectionError", "builtins.ConnectionError"],
        }

    def test_history_goes_on_through_a_redrive(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()
        driver.run_due()
        lifecycle.redrive([uuid.UUID(result.id)])

        driver.run_due()
        result.refresh()

        assert [a.number for a in driver.attempts(result)] == [1, 2]
        assert len(result.errors) == 2
        assert result.attempts == 2
