"""What a worker does with one claim, with lost attempts, and with a database in trouble."""

import logging
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle, worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Encoded, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.signals import attempt_failed
from django_retrytasks.worker.batch import Batch
from django_retrytasks.worker.pace import Pace
from tests.support import session_tasks, tasks
from tests.support.driver import KEY, Driver, Outcome, wake_ups

pytestmark = pytest.mark.django_db


class TestServingAWakeUp:
    def test_it_runs_what_is_due_and_leaves_no_wake_up(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"SLICE": 60}
        results = tasks.echoes.enqueue_many([(n,) for n in range(120)])
        OrmQ.objects.all().delete()

        driver.run_due()

        assert {driver.row(result).status for result in results} == {Status.SUCCEEDED}
        assert wake_ups() == []

    def test_it_leaves_other_clusters_their_queues(self, driver: Driver) -> None:
        result = tasks.echoes.using(queue_name="slow").enqueue(1)

        driver.run_due()
        assert driver.row(result).status == Status.PENDING
        worker.run("slow")

        assert driver.row(result).status == Status.SUCCEEDED

    def test_when_its_slice_is_over_it_rings_for_every_worker(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"SLICE": 0}
        tasks.succeeds.enqueue_many([()] * 500)
        OrmQ.objects.all().delete()

        driver.run_due()

        assert 200 < Task.objects.unfinished().count() < 500
        assert len(wake_ups()) == 2

    def test_a_task_that_comes_due_in_a_moment_is_waited_for(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        Task.objects.update(run_after=DatabaseNow() + timedelta(seconds=0.1))

        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED

    def test_woken_far_too_early_it_rings_for_the_same_moment_again(self) -> None:
        moment = timezone.now() + timedelta(seconds=30)
        tasks.echoes.using(run_after=moment).enqueue(1)
        OrmQ.objects.all().delete()

        worker.run(KEY, moment.timestamp())

        [wake] = wake_ups()
        assert abs(wake.lock - moment) < timedelta(seconds=10)

    def test_woken_in_vain_it_rings_for_nobody(self, driver: Driver) -> None:
        tasks.echoes.using(run_after=timezone.now() + timedelta(seconds=30)).enqueue(1)
        OrmQ.objects.all().delete()

        driver.run_due()

        assert wake_ups() == []


class TestPace:
    def test_one_task_is_claimed_until_a_run_time_is_known(self) -> None:
        assert Pace().limit == 1

    @pytest.mark.parametrize(
        ("seconds", "limit"), [(0.0, 200), (0.001, 50), (0.005, 10), (0.03, 1), (10, 1)]
    )
    def test_about_fifty_milliseconds_of_work_are_claimed(self, seconds: float, limit: int) -> None:
        pace = Pace()

        pace.note(seconds)

        assert pace.limit == limit

    def test_while_due_tasks_are_left_each_claim_doubles_to_200_milliseconds(self) -> None:
        pace, limits = Pace(), []
        pace.note(0.025)

        for _ in range(4):
            limits.append(pace.limit)
            pace.note_claim(leaves_due=True)
        assert limits == [2, 4, 8, 8]

        pace.note_claim(leaves_due=False)
        assert pace.limit == 2

    @pytest.mark.parametrize(("seconds", "limit"), [(0.0505, 4), (0.101, 2), (0.12, 1)])
    def test_a_claim_may_exceed_it_by_a_part_of_one_task(self, seconds: float, limit: int) -> None:
        pace = Pace()
        pace.note(seconds)

        for _ in range(4):
            pace.note_claim(leaves_due=True)

        assert pace.limit == limit

    def test_slow_tasks_of_a_backlog_are_claimed_together(self, driver: Driver) -> None:
        results = tasks.naps.enqueue_many([(0.04,)] * 12)

        driver.drain()

        assert len({driver.row(result).claimed_at for result in results}) < 10

    def test_one_slow_task_among_quick_ones_counts_for_a_fifth(self) -> None:
        pace = Pace()
        for seconds in (0.0, 0.05):
            pace.note(seconds)

        assert pace.limit == 5


class TestLostAttempts:
    def test_a_lapsed_claim_is_a_lost_attempt_of_the_worker_that_held_it(
        self, driver: Driver
    ) -> None:
        task = driver.task_in(Status.RUNNING)

        row = driver.attempt(task)

        [attempt] = driver.attempts(task)
        assert (row.status, row.retry_count, row.crash_count) == (Status.RETRYING, 1, 1)
        assert attempt.outcome == Outcome.LOST
        assert attempt.worker == "host:1:one"
        assert attempt.started_at == task.claimed_at
        assert attempt.exception_class_path == "django_retrytasks.exceptions.WorkerLost"
        assert driver.attempt(task).status == Status.SUCCEEDED

    def test_three_losses_fail_it_as_crashed(self, driver: Driver) -> None:
        task = driver.row(tasks.echoes.using(max_retries=9).enqueue(1))

        for _ in range(3):
            lifecycle.claim_inline([task.pk], worker="host:1:one")
            row = driver.attempt(task)

        assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.CRASHED)
        assert [attempt.decision for attempt in driver.attempts(task)][1:] == [
            driver.attempts(task)[1].decision,
            "max_crashes reached (crash 3 of 3)",
        ]

    def test_a_loss_with_no_retry_left_fails_it_as_crashed(self, driver: Driver) -> None:
        task = driver.row(tasks.echoes.using(max_retries=0).enqueue(1))
        lifecycle.claim_inline([task.pk], worker="host:1:one")

        row = driver.attempt(task)

        assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.CRASHED)

    def test_one_whose_code_is_gone_is_lost_all_the_same(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        Task.objects.update(name="tests.gone.task")

        driver.attempt(task)

        assert [attempt.outcome for attempt in driver.attempts(task)] == ["LOST"]

    def test_neighbours_that_had_not_started_are_charged_nothing_and_run_alone(
        self, driver: Driver
    ) -> None:
        tasks.echoes.enqueue_many([(n,) for n in range(3)])
        poison, *neighbours = driver.claim().tasks
        lifecycle.heartbeat(poison, started_at=poison.claimed_at or timezone.now())
        driver.make_due(poison, *neighbours)

        driver.run_due()

        assert [attempt.outcome for attempt in driver.attempts(poison)] == ["LOST"]
        for task in neighbours:
            row = driver.row(task)
            assert (row.status, row.crash_count, row.suspect) == (Status.SUCCEEDED, 0, True)
            assert len(driver.attempts(task)) == 1

    def test_an_outcome_after_another_worker_took_over_is_refused(self, driver: Driver) -> None:
        result = session_tasks.loses_its_claim.enqueue()

        driver.run_due()

        assert driver.row(result).status == Status.RUNNING
        assert driver.attempts(result) == []

    def test_an_interrupted_worker_gives_its_waiting_tasks_back(self, driver: Driver) -> None:
        tasks.is_interrupted.enqueue()
        waiting = tasks.echoes.enqueue(1)
        batch = Batch(driver.claim())

        with pytest.raises(KeyboardInterrupt):
            batch.run()

        row = driver.row(waiting)
        assert (row.status, row.attempt_count, row.suspect) == (Status.PENDING, 0, False)


@pytest.mark.django_db(transaction=True)
class TestLongTasks:
    def test_a_long_task_keeps_its_lease_and_holds_up_no_neighbour(self, driver: Driver) -> None:
        quicken(driver)
        before, slow, after = (
            tasks.echoes.using(priority=9).enqueue("before"),
            session_tasks.watches_its_batch.using(priority=8).enqueue(),
            tasks.echoes.using(priority=7).enqueue("after"),
        )

        driver.run_due()

        row = driver.row(slow)
        assert row.return_value == {"before": "SUCCEEDED", "after": "PENDING"}
        assert row.status == Status.SUCCEEDED
        assert driver.row(before).status == Status.SUCCEEDED
        driver.drain()
        assert driver.row(after).status == Status.SUCCEEDED

    def test_one_that_must_wait_is_given_back_though_the_heart_gives_back_others(
        self, driver: Driver
    ) -> None:
        results = tasks.echoes.enqueue_many([(n,) for n in range(3)])
        batch = Batch(driver.claim())
        taken = batch._next()
        assert taken

        def leave_once(execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
            if OrmQ._meta.db_table in sql and taken.pk in batch._running:
                batch._leave(taken)
            return execute(sql, params, many, context)

        with connection.execute_wrapper(leave_once):
            batch._give_back(time.monotonic() + 5)
        batch.run()

        rows = [driver.row(result) for result in results]
        assert [(row.status, row.attempt_count) for row in rows] == [(Status.PENDING, 0)] * 3


def quicken(driver: Driver) -> None:
    """Have the worker of this process claim Tasks in batches, after many quick ones."""
    tasks.succeeds.enqueue_many([()] * 100)
    driver.drain()
    Task.objects.all().delete()


@pytest.mark.django_db(transaction=True)
class TestConnections:
    def test_a_function_that_breaks_its_connection_fails_alone(self, driver: Driver) -> None:
        broken = tasks.breaks_its_connection.enqueue()
        other = tasks.echoes.enqueue(1)

        driver.drain()

        row = driver.row(broken)
        assert (row.status, row.attempt_count) == (Status.FAILED, 4)
        assert driver.row(other).status == Status.SUCCEEDED

    def test_an_outcome_survives_the_end_of_its_database_session(self, driver: Driver) -> None:
        result = session_tasks.kills_its_session.enqueue(connection.vendor, session_id())

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.return_value) == (Status.SUCCEEDED, "survived")

    def test_a_function_that_leaves_autocommit_off_is_settled(self, driver: Driver) -> None:
        result = session_tasks.leaves_autocommit_off.enqueue()

        driver.run_due()
        connection.close()

        assert driver.row(result).status == Status.SUCCEEDED


def session_id() -> int:
    """Return the number by which the server knows this session."""
    queries = {"postgresql": "SELECT pg_backend_pid()", "mysql": "SELECT connection_id()"}
    if connection.vendor not in queries:
        pytest.skip("this database has no server that could end a session")
    with connection.cursor() as cursor:
        cursor.execute(queries[connection.vendor])
        return int(cursor.fetchone()[0])


class TestRowsInTrouble:
    @pytest.mark.parametrize("field", ["args", "kwargs"])
    def test_a_row_that_cannot_be_read_fails_alone(self, driver: Driver, field: str) -> None:
        broken, other = tasks.echoes.enqueue_many([(1,), (2,)])
        Task.objects.filter(pk=broken.id).update(**{field: Encoded("no JSON")})

        row = driver.attempt(broken)

        [attempt] = driver.attempts(broken)
        assert row.status == Status.RETRYING
        assert attempt.exception_message == "the stored value of 7 characters is not readable"
        assert driver.row(other).status == Status.SUCCEEDED

    def test_a_log_handler_that_raises_keeps_no_outcome_from_being_stored(
        self, driver: Driver
    ) -> None:
        class Raising(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise RuntimeError("cannot show this")

        handler, dispatch = Raising(logging.ERROR), logging.getLogger("django.dispatch")
        failing = tasks.fails_once_for_all.enqueue()
        other = tasks.echoes.enqueue(1)
        dispatch.addHandler(handler)
        attempt_failed.connect(trip)
        try:
            driver.run_due()
        finally:
            attempt_failed.disconnect(trip)
            dispatch.removeHandler(handler)

        assert driver.row(failing).status == Status.FAILED
        assert driver.row(other).status == Status.SUCCEEDED


def trip(**details: object) -> None:
    raise ValueError("a receiver's own trouble")
