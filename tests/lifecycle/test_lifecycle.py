"""What holds a claim and ends it, and what an operator changes: every edge, and every non-edge."""

from datetime import timedelta

import pytest
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Status, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver, wake_ups
from tests.support.rows import database_now, values

pytestmark = pytest.mark.django_db
LEASE = timedelta(seconds=60)
# Databases answer at once; the margin is for machines that do not.
MARGIN = timedelta(seconds=10)


class TestHeartbeat:
    def test_it_extends_the_lease_and_notes_the_start(self, driver: Driver) -> None:
        tasks.echoes.enqueue_many([(1,), (2,)])
        task = driver.claim().tasks[0]
        Task.objects.update(run_after=DatabaseNow() + timedelta(seconds=5))

        started_at = database_now()

        assert lifecycle.heartbeat(task, started_at=started_at) is True

        row = driver.row(task)
        assert row.run_after is not None
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
