"""A Task is enqueued and claimed: every edge of the state machine, and every non-edge."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Encoded, Status, Task
from tests.support import tasks
from tests.support.driver import Driver, wake_ups
from tests.support.rows import database_now, values

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=60)
# Databases answer at once; the margin is for machines that do not.
MARGIN = timedelta(seconds=10)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.DISCARDED)


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

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="the others compare no texts")
    @pytest.mark.django_db(transaction=True)
    def test_is_due_in_the_very_millisecond_of_its_run_after(self) -> None:
        moment = datetime(2030, 6, 1, 12, 0, 0, 100_000, UTC)
        tasks.echoes.using(run_after=moment).enqueue(1)
        connection.close()  # with its prepared statements
        connection.ensure_connection()
        try:
            connection.connection.create_function(
                "STRFTIME", 3, lambda *_: "2030-06-01 12:00:00.100"
            )
            assert Task.objects.due().exists()
        finally:
            connection.close()

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

        assert task.run_after is not None
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
        assert task.run_after is not None
        assert task.run_after > database_now() + LEASE - MARGIN

    def test_a_suspect_is_claimed_alone_and_left_out_of_batches(self, driver: Driver) -> None:
        moment = timezone.now() - timedelta(hours=1)
        for minutes in range(4):
            tasks.echoes.using(run_after=moment + timedelta(minutes=minutes)).enqueue(minutes)
        Task.objects.filter(args__in=[Encoded("[0]"), Encoded("[2]")]).update(suspect=True)

        claims = [[task.args[0] for task in driver.claim().tasks] for _ in range(4)]

        assert claims == [[0], [1, 3], [2], []]
