"""Every edge of the state machine, and every non-edge."""

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Encoded, Status, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver, Outcome, wake_ups

pytestmark = pytest.mark.django_db

LEASE = timedelta(seconds=60)
# Databases answer at once; the margin is for machines that do not.
MARGIN = timedelta(seconds=10)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)
ANNOUNCEMENT = "django_retrytasks.alerts.announcements.announce_failures"


def database_now() -> Any:
    return Task.objects.values_list(DatabaseNow(), flat=True).first()


def values(task: Task) -> dict[str, Any]:
    """Return all that is stored of a Task."""
    rows = Task.objects.filter(pk=task.pk).values()
    return dict(rows.get())


class TestEnqueue:
    def test_a_new_task_is_pending_and_due_at_once(self, driver: Driver) -> None:
        task = driver.row(tasks.echoes.enqueue(1))

        assert task.status == Status.PENDING
        assert task.run_after == task.queued_at == task.enqueued_at
        assert (task.retry_count, task.attempt_count, task.crash_count) == (0, 0, 0)
        assert task.claim_token is None
        assert Task.objects.due().get() == task

    def test_a_run_after_to_come_is_waited_for(self, driver: Driver) -> None:
        moment = timezone.now() + timedelta(seconds=100)

        task = driver.row(tasks.echoes.using(run_after=moment).enqueue(1))

        assert task.status == Status.PENDING
        assert task.run_after == task.queued_at == moment
        assert not Task.objects.due().exists()

    def test_more_than_a_thousand_are_all_stored(self) -> None:
        results = tasks.succeeds.enqueue_many([()] * 1001)

        assert len({result.id for result in results}) == Task.objects.count() == 1001

    def test_none_at_all_stores_nothing(self) -> None:
        assert tasks.echoes.enqueue_many([]) == []

        assert not Task.objects.exists()
        assert wake_ups() == []

    def test_a_savepoint_rolled_back_takes_task_and_wake_up_with_it(self) -> None:
        with transaction.atomic():
            kept = tasks.echoes.enqueue("kept")
            with transaction.atomic():
                tasks.echoes.enqueue("gone")
                transaction.set_rollback(True)

        assert [str(task.pk) for task in Task.objects.all()] == [kept.id]
        assert len(wake_ups()) == 1


class TestClaim:
    def test_a_pending_task_runs_under_a_token_until_its_lease_ends(self, driver: Driver) -> None:
        waiting = driver.row(tasks.echoes.enqueue(1))

        claim = driver.claim(by="host:1:one")

        task = driver.row(waiting)
        assert claim.tasks == [task]
        assert task.status == Status.RUNNING
        assert task.claim_token == claim.token
        assert (task.worker, task.claimed_at) == ("host:1:one", claim.at)
        assert claim.at is not None
        assert task.run_after == claim.at + LEASE
        assert task.queued_at == waiting.queued_at

    def test_the_lease_follows_the_database_and_the_setting(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"LEASE": timedelta(hours=1)}
        tasks.echoes.enqueue(1)

        task = driver.row(driver.claim().tasks[0])

        ahead = task.run_after - database_now()
        assert timedelta(hours=1) - MARGIN < ahead <= timedelta(hours=1)

    def test_it_deletes_the_wake_up_of_what_it_takes(self, driver: Driver) -> None:
        task = driver.row(tasks.echoes.enqueue(1))

        driver.claim()

        if task.wakeup_id is not None:
            assert wake_ups() == []
        assert driver.row(task).wakeup_id is None

    def test_a_retrying_task_runs_again_when_due(self, driver: Driver) -> None:
        task = driver.task_in(Status.RETRYING)
        driver.make_due(task)

        assert driver.claim().tasks == [task]
        assert driver.row(task).status == Status.RUNNING

    @pytest.mark.parametrize("status", [Status.RUNNING, *FINAL])
    def test_a_task_that_runs_or_is_final_is_not_claimed(
        self, driver: Driver, status: Status
    ) -> None:
        before = values(driver.task_in(status))

        claimed = [task.pk for task in driver.claim().tasks]

        assert before["id"] not in claimed
        assert values(Task(pk=before["id"])) == before

    @pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING])
    def test_a_task_whose_moment_has_not_come_is_not_claimed(
        self, driver: Driver, status: Status
    ) -> None:
        task = driver.task_in(status)
        Task.objects.update(run_after=DatabaseNow() + timedelta(seconds=30))

        assert driver.claim() == lifecycle.Claim()
        assert driver.row(task).status == status

    def test_the_best_priority_comes_first_and_then_the_longest_due(self, driver: Driver) -> None:
        moment = timezone.now() - timedelta(hours=1)
        for priority, minutes in [(0, 0), (5, 2), (5, 1), (-5, 0), (100, 9)]:
            late = moment + timedelta(minutes=minutes)
            tasks.echoes.using(priority=priority, run_after=late).enqueue(f"{priority} {minutes}")

        first, rest = driver.claim(limit=2), driver.claim()

        assert [task.args for task in first.tasks] == [["100 9"], ["5 1"]]
        assert [task.args for task in rest.tasks] == [["5 2"], ["0 0"], ["-5 0"]]

    def test_queues_of_one_cluster_take_turns_by_run_after(self, driver: Driver) -> None:
        moment = timezone.now() - timedelta(hours=1)
        for queue_name, minutes in [("a", 3), ("b", 1), ("a", 2), ("b", 4)]:
            late = moment + timedelta(minutes=minutes)
            tasks.echoes.using(queue_name=queue_name, run_after=late).enqueue(minutes)

        assert [task.args for task in driver.claim(limit=3).tasks] == [[1], [2], [3]]

    def test_a_task_claimed_alone_is_known_to_have_started(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)

        task = driver.row(driver.claim().tasks[0])

        assert task.started_at == task.last_attempted_at == task.claimed_at
        assert task.was_started

    def test_tasks_claimed_together_are_not_known_to_have_started(self, driver: Driver) -> None:
        tasks.echoes.enqueue_many([(1,), (2,)])

        claimed = [driver.row(task) for task in driver.claim().tasks]

        assert [task.started_at for task in claimed] == [None, None]
        assert not any(task.was_started for task in claimed)

    def test_a_lapsed_claim_is_taken_over_and_still_says_who_was_lost(self, driver: Driver) -> None:
        lost = driver.task_in(Status.RUNNING)
        driver.make_due(lost)

        claim = driver.claim(by="host:2:two")

        task = driver.row(lost)
        assert [taken.lapsed for taken in claim.tasks] == [True]
        assert task.claim_token == claim.token != lost.claim_token
        assert (task.worker, task.claimed_at) == (lost.worker, lost.claimed_at)
        assert task.run_after > database_now() + LEASE - MARGIN

    def test_a_suspect_is_claimed_alone_and_left_out_of_batches(self, driver: Driver) -> None:
        moment = timezone.now() - timedelta(hours=1)
        for minutes in range(4):
            tasks.echoes.using(run_after=moment + timedelta(minutes=minutes)).enqueue(minutes)
        Task.objects.filter(args__in=[Encoded("[0]"), Encoded("[2]")]).update(suspect=True)

        claims = [[task.args[0] for task in driver.claim().tasks] for _ in range(4)]

        assert claims == [[0], [1, 3], [2], []]


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


class TestHeartbeat:
    def test_it_extends_the_lease_and_notes_the_start(self, driver: Driver) -> None:
        tasks.echoes.enqueue_many([(1,), (2,)])
        task = driver.claim().tasks[0]
        Task.objects.update(run_after=DatabaseNow() + timedelta(seconds=5))

        started_at = database_now()

        assert lifecycle.heartbeat(task, started_at=started_at) is True

        row = driver.row(task)
        assert row.run_after > database_now() + LEASE - MARGIN
        assert row.started_at == row.last_attempted_at == started_at

    def test_a_lease_that_has_ended_is_not_extended(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        driver.make_due(task)
        before = values(task)

        assert lifecycle.heartbeat(task, started_at=database_now()) is False

        assert values(task) == before

    def test_a_claim_taken_over_is_not_extended(self, driver: Driver) -> None:
        frozen = driver.task_in(Status.RUNNING)
        driver.make_due(frozen)
        driver.claim()
        before = values(frozen)

        assert lifecycle.heartbeat(frozen, started_at=database_now()) is False

        assert values(frozen) == before


class TestRelease:
    @pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING])
    def test_a_task_given_back_waits_as_before_and_is_due(
        self, driver: Driver, status: Status
    ) -> None:
        waiting = driver.task_in(status)
        driver.make_due(waiting)
        [task] = driver.claim().tasks
        OrmQ.objects.all().delete()

        lifecycle.release([task])

        row = driver.row(task)
        assert (row.status, row.claim_token, row.suspect) == (status, None, False)
        assert (row.attempt_count, row.retry_count) == (waiting.attempt_count, waiting.retry_count)
        assert len(wake_ups()) == 1
        assert driver.claim().tasks == [task]

    def test_a_suspect_is_marked(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)

        lifecycle.release([task], suspect=True)

        assert driver.row(task).suspect is True

    def test_a_claim_that_is_over_is_not_given_back(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        lifecycle.settle([driver.ending(task)])
        before = values(task)

        lifecycle.release([task])

        assert values(task) == before


class TestRedrive:
    def test_a_failed_task_starts_anew_and_keeps_its_attempts(self, driver: Driver) -> None:
        task = driver.task_in(Status.FAILED)
        OrmQ.objects.all().delete()

        assert lifecycle.redrive([task.pk]) == 1

        row = driver.row(task)
        assert (row.status, row.stop_reason, row.finished_at) == (Status.PENDING, "", None)
        assert (row.retry_count, row.crash_count, row.attempt_count) == (0, 0, 1)
        assert row.started_at is None
        assert len(wake_ups()) == 1
        Task.objects.filter(internal=True).delete()
        lifecycle.settle([driver.ending(driver.claim().tasks[0])])
        assert [attempt.number for attempt in driver.attempts(task)] == [1, 2]

    @pytest.mark.parametrize("status", [one for one in Status if one != Status.FAILED])
    def test_no_other_task_is_redriven(self, driver: Driver, status: Status) -> None:
        task = driver.task_in(status)
        before = values(task)

        assert lifecycle.redrive([task.pk]) == 0

        assert values(task) == before

    def test_it_counts_those_it_took_of_many(self, driver: Driver) -> None:
        failed = [driver.task_in(Status.FAILED) for _ in range(3)]
        done = driver.task_in(Status.PENDING)

        assert lifecycle.redrive(task.pk for task in [*failed, done]) == 3


class TestDiscard:
    @pytest.mark.parametrize("status", [Status.PENDING, Status.RETRYING, Status.FAILED])
    def test_a_task_that_waits_or_failed_is_dropped(self, driver: Driver, status: Status) -> None:
        task = driver.task_in(status)

        assert lifecycle.discard([task.pk]) == 1

        row = driver.row(task)
        assert (row.status, row.stop_reason) == (Status.DISCARDED, StopReason.DISCARDED)
        assert (row.run_after, row.wakeup_id) == (None, None)
        assert row.finished_at is not None

    def test_wake_ups_stay_for_others_that_share_them(self, driver: Driver) -> None:
        first, second, *_ = tasks.echoes.enqueue_many([(n,) for n in range(5)])

        lifecycle.discard([driver.row(first).pk, driver.row(second).pk])

        assert OrmQ.objects.count() == 2

    @pytest.mark.parametrize("status", [Status.RUNNING, Status.SUCCEEDED, Status.DISCARDED])
    def test_no_other_task_is_dropped(self, driver: Driver, status: Status) -> None:
        task = driver.task_in(status)
        before = values(task)

        assert lifecycle.discard([task.pk]) == 0

        assert values(task) == before
