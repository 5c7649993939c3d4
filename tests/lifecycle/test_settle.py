"""An outcome is settled: every edge of the state machine, and every non-edge."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.models import Encoded, Status, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver, Outcome, in_another_session, wake_ups
from tests.support.rows import database_now, values

pytestmark = pytest.mark.django_db
# Databases answer at once; the margin is for machines that do not.
MARGIN = timedelta(seconds=10)
ANNOUNCEMENT = "django_retrytasks.alerts.announcements.announce_failures"


class TestSettle:
    def test_a_success_is_final_and_keeps_what_was_returned(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)

        [settled] = lifecycle.settle([driver.ending(task, return_value=Encoded("[1,2]"))])

        row, [attempt] = driver.row(task), driver.attempts(task)
        assert row.status == Status.SUCCEEDED
        assert row.return_value == [1, 2]
        assert (row.run_after, row.claim_token, row.stop_reason) == (None, None, "")
        assert row.finished_at is not None
        assert (row.attempt_count, row.retry_count) == (1, 0)
        assert settled.attempt == attempt
        assert (attempt.number, attempt.outcome, attempt.worker) == (1, "SUCCEEDED", task.worker)
        assert (attempt.queued_at, attempt.next_run_after) == (task.queued_at, None)

    def test_a_retry_waits_for_its_countdown_and_rings_then(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        OrmQ.objects.all().delete()

        lifecycle.settle([driver.ending(task, Outcome.FAILED, countdown=30)])

        row, [attempt] = driver.row(task), driver.attempts(task)
        assert row.status == Status.RETRYING
        assert (row.attempt_count, row.retry_count) == (1, 1)
        assert row.run_after == row.queued_at == attempt.next_run_after
        assert row.run_after is not None
        ahead = row.run_after - database_now()
        assert timedelta(seconds=30) - MARGIN < ahead <= timedelta(seconds=30)
        assert attempt.retry_count == 0
        assert [wake.pk for wake in wake_ups()] == [row.wakeup_id]
        assert wake_ups()[0].lock > timezone.now() + timedelta(seconds=30) - MARGIN

    def test_a_stop_is_final_and_has_one_announcement(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)

        lifecycle.settle([driver.ending(task, Outcome.FAILED)])

        row, announcement = driver.row(task), Task.objects.get(internal=True)
        assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.MAX_RETRIES)
        assert row.run_after is None
        assert announcement.name == ANNOUNCEMENT
        assert announcement.args == [[[str(task.pk), 1]]]
        assert (announcement.priority, announcement.queue_name) == (100, "default")

    def test_the_failure_of_an_internal_task_is_not_announced(self, driver: Driver) -> None:
        driver.task_in(Status.FAILED)
        [announcement] = driver.claim().tasks

        lifecycle.settle([driver.ending(announcement, Outcome.FAILED)])

        assert driver.row(announcement).status == Status.FAILED
        assert Task.objects.filter(internal=True).count() == 1

    def test_a_lost_attempt_counts_as_a_crash_and_makes_suspect(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)

        lifecycle.settle([driver.ending(task, Outcome.LOST, countdown=5)])

        row = driver.row(task)
        assert (row.crash_count, row.retry_count, row.suspect) == (1, 1, True)

    @pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING])
    def test_a_snooze_puts_off_and_spends_no_retry(self, driver: Driver, status: Status) -> None:
        waiting = driver.task_in(status)
        driver.make_due(waiting)
        task = driver.claim().tasks[0]

        lifecycle.settle([driver.ending(task, Outcome.SNOOZED, countdown=60)])

        row = driver.row(task)
        assert (row.status, row.retry_count) == (status, waiting.retry_count)
        assert row.attempt_count == waiting.attempt_count + 1
        assert row.run_after is not None
        assert row.run_after > database_now() + timedelta(seconds=60) - MARGIN

    def test_a_discard_by_the_function_is_final_and_not_announced(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)

        lifecycle.settle([driver.ending(task, Outcome.DISCARDED)])

        assert driver.row(task).status == Status.DISCARDED
        assert not Task.objects.filter(internal=True).exists()

    def test_attempts_of_several_tasks_are_settled_together(self, driver: Driver) -> None:
        tasks.echoes.enqueue_many([(1,), (2,), (3,)])
        one, two, three = driver.claim().tasks

        settled = lifecycle.settle(
            [
                driver.ending(one),
                driver.ending(two, Outcome.FAILED, countdown=1),
                driver.ending(three, Outcome.FAILED),
            ]
        )

        assert [each.ending.task for each in settled] == [one, two, three]
        statuses = [driver.row(task).status for task in (one, two, three)]
        assert statuses == [Status.SUCCEEDED, Status.RETRYING, Status.FAILED]

    def test_the_second_settle_of_an_attempt_changes_nothing(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        lifecycle.settle([driver.ending(task)])
        before = values(task)

        again = lifecycle.settle([driver.ending(driver.row(task), Outcome.FAILED)])

        assert again == []
        assert values(task) == before
        assert len(driver.attempts(task)) == 1

    def test_a_settle_after_the_lease_has_ended_changes_nothing(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        driver.make_due(task)
        before = values(task)

        assert lifecycle.settle([driver.ending(task)]) == []

        assert values(task) == before
        assert driver.attempts(task) == []

    def test_a_settle_of_a_claim_taken_over_changes_nothing(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        frozen = driver.task_in(Status.RUNNING)
        driver.make_due(frozen)
        driver.claim(by="host:2:two")
        before = values(frozen)

        assert lifecycle.settle([driver.ending(frozen)]) == []

        assert values(frozen) == before
        [refusal] = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert "outcome refused: its claim is over" in refusal.getMessage()

    def test_one_stale_ending_does_not_hold_up_the_others(self, driver: Driver) -> None:
        tasks.echoes.enqueue_many([(1,), (2,)])
        fresh, stale = driver.claim().tasks
        driver.make_due(stale)

        settled = lifecycle.settle([driver.ending(fresh), driver.ending(stale)])

        assert [each.ending.task for each in settled] == [fresh]
        assert driver.row(fresh).status == Status.SUCCEEDED
        assert driver.row(stale).status == Status.RUNNING


@pytest.mark.django_db(transaction=True)
class TestClaimThatEndsMeanwhile:
    """Its Task is cancelled after the settle has read what the claim holds, before it writes."""

    @pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.FAILED])
    def test_its_ending_is_refused_and_a_neighbours_is_stored(
        self, driver: Driver, outcome: Outcome
    ) -> None:
        tasks.echoes.enqueue_many([(1,), (2,)])
        one, other = driver.claim().tasks
        cancelled = cancelling_after_the_first_read(one)

        with connection.execute_wrapper(cancelled):
            settled = lifecycle.settle([driver.ending(task, outcome) for task in (one, other)])

        assert [each.ending.task for each in settled] == [other]
        assert driver.row(one).stop_reason == StopReason.CANCELLED
        assert driver.row(other).status == Status(outcome)
        assert [attempt.outcome for attempt in driver.attempts(other)] == [outcome]
        announced = Task.objects.filter(internal=True).values_list("args", flat=True)
        expected = [[[[str(other.pk), 1]]]] if outcome is Outcome.FAILED else []
        assert list(announced) == expected


def cancelling_after_the_first_read(task: Task) -> Any:
    """Return an execute wrapper that cancels the Task in another session, once."""
    began: list[str] = []

    def wrapper(execute: Any, sql: str, *details: Any) -> Any:
        result = execute(sql, *details)
        if sql.startswith("SELECT id") and not began:
            began.append(sql)
            in_another_session(lambda: lifecycle.cancel([task.pk])).result()
        return result

    return wrapper
