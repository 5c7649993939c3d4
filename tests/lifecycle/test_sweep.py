"""Lanes, the sweep that mends, and pruning."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import Attempt, Status, Task
from tests.support import tasks
from tests.support.driver import KEY, Driver, wake_ups

pytestmark = pytest.mark.django_db


class TestLanes:
    def test_they_are_those_with_unfinished_tasks_the_best_priority_first(
        self, driver: Driver
    ) -> None:
        driver.task_in(Status.SUCCEEDED)
        for queue_name, priority in [("a", -1), ("b", 7), ("b", -100), ("slow", 3)]:
            tasks.echoes.using(queue_name=queue_name, priority=priority).enqueue(1)

        assert list(survey().for_cluster(KEY).due) == [("b", 7), ("a", -1), ("b", -100)]
        assert list(survey().for_cluster("slow").due) == [("slow", 3)]

    def test_a_claim_beside_many_future_tasks_reads_one_range_of_its_index(
        self, driver: Driver
    ) -> None:
        later = timezone.now() + timedelta(days=1)
        tasks.succeeds.using(run_after=later).enqueue_many([()] * 3000)
        tasks.succeeds.enqueue()

        with CaptureQueriesContext(connection) as queries:
            claim = driver.claim()

        assert len(claim.tasks) == 1
        [select] = [query["sql"] for query in queries if "LIMIT 50" in query["sql"]]
        assert RANGE_OF_THE_INDEX[connection.vendor] in plan_of(select)


# What stands in the plan of a query that seeks the due Tasks of a lane, and reads no other.
RANGE_OF_THE_INDEX = {
    "sqlite": "retrytasks_due (queue_name=? AND priority=? AND run_after<?)",
    "postgresql": "Index Scan using retrytasks_due",
    "mysql": "range retrytasks_due",
}


def plan_of(sql: str) -> str:
    """Return the database's plan for a query, as text."""
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE retrytasks_task")
        cursor.execute(f"{explain} {sql}")
        names = [column[0] for column in cursor.description]
        plan = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if connection.vendor == "mysql":
        return " ".join(f"{row['type']} {row['key']} {row['Extra']}" for row in plan)
    return "\n".join(str(row) for row in plan)


class TestRinging:
    def test_due_tasks_without_a_wake_up_get_one_for_each_worker(self, driver: Driver) -> None:
        for queue_name, priority in [("default", 0), ("default", 5), ("slow", 0)]:
            tasks.echoes.using(queue_name=queue_name, priority=priority).enqueue_many([(1,)] * 3)
        OrmQ.objects.all().delete()

        lifecycle.sweep()

        assert (len(wake_ups()), len(wake_ups("slow"))) == (2, 2)

    def test_sweeps_that_nobody_answers_do_not_pile_up_wake_ups(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)

        for _ in range(3):
            lifecycle.sweep()

        assert len(wake_ups()) == 2

    def test_a_purged_queue_leaves_no_task_behind(self, driver: Driver) -> None:
        done = tasks.echoes.enqueue_many([(n,) for n in range(5)])
        failing = tasks.fails_twice.enqueue()
        driver.run_due()
        waiting = tasks.echoes.enqueue_many([(n,) for n in range(5)])
        OrmQ.objects.all().delete()

        lifecycle.sweep()
        for _ in wake_ups():
            driver.drain()

        for result in [*done, failing, *waiting]:
            assert driver.row(result).status == Status.SUCCEEDED

    def test_a_lapsed_claim_is_rung_for(self, driver: Driver) -> None:
        task = driver.task_in(Status.RUNNING)
        OrmQ.objects.all().delete()
        lifecycle.sweep()
        assert wake_ups() == []

        driver.make_due(task)
        lifecycle.sweep()

        assert len(wake_ups()) == 2

    def test_tasks_that_come_due_before_the_next_sweeps_are_rung_for_then(self) -> None:
        start = timezone.now()
        for seconds in (60, 100, 3600):
            tasks.echoes.using(run_after=start + timedelta(seconds=seconds)).enqueue(seconds)
        OrmQ.objects.all().delete()
        Task.objects.update(wakeup_id=None)

        lifecycle.sweep()

        locks = [(wake.lock - start).total_seconds() for wake in wake_ups()]
        assert [round(seconds, -1) for seconds in locks] == [60, 100]
        assert locks[0] >= 60

    def test_tasks_that_come_due_together_share_a_wake_up(self) -> None:
        moment = timezone.now() + timedelta(seconds=60)
        for milliseconds in (0, 20, 40, 5000):
            late = moment + timedelta(milliseconds=milliseconds)
            tasks.echoes.using(run_after=late).enqueue(milliseconds)
        OrmQ.objects.all().delete()
        Task.objects.update(wakeup_id=None)

        lifecycle.sweep()

        assert len(wake_ups()) == 2

    def test_a_task_whose_wake_up_waits_is_not_rung_for_again(self) -> None:
        tasks.echoes.using(run_after=timezone.now() + timedelta(seconds=60)).enqueue(1)

        lifecycle.sweep()

        assert len(wake_ups()) == 1

    def test_without_unfinished_tasks_nobody_is_woken(self, driver: Driver) -> None:
        driver.task_in(Status.SUCCEEDED)
        driver.task_in(Status.DISCARDED)
        OrmQ.objects.all().delete()

        lifecycle.sweep()

        assert wake_ups() == []


class TestPruning:
    @pytest.mark.parametrize(
        ("status", "days"),
        [(Status.SUCCEEDED, 7), (Status.FAILED, 90), (Status.DISCARDED, 30)],
    )
    def test_finished_tasks_go_with_their_attempts_when_their_time_is_over(
        self, driver: Driver, status: Status, days: int
    ) -> None:
        old, young = driver.task_in(status), driver.task_in(status)
        Task.objects.filter(internal=True).delete()
        finished(old, timedelta(days=days, hours=1))
        finished(young, timedelta(days=days, hours=-1))

        assert lifecycle.prune() == 1

        assert list(Task.objects.all()) == [young]
        assert not Attempt.objects.filter(task=old.pk).exists()

    @pytest.mark.django_db(transaction=True)
    def test_where_nothing_is_old_it_opens_no_transaction(self, driver: Driver) -> None:
        driver.task_in(Status.FAILED)

        with CaptureQueriesContext(connection) as captured:
            assert lifecycle.prune() == 0

        assert {query["sql"].split()[0] for query in captured} == {"SELECT"}

    def test_the_site_may_keep_them_shorter_or_for_ever(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"RETENTION": {"SUCCEEDED": 60, "DISCARDED": None}}
        done, dropped = driver.task_in(Status.SUCCEEDED), driver.task_in(Status.DISCARDED)
        finished(done, timedelta(seconds=120))
        finished(dropped, timedelta(days=3650))

        lifecycle.sweep()

        assert list(Task.objects.all()) == [dropped]

    def test_internal_tasks_go_after_an_hour(self, driver: Driver) -> None:
        failed = driver.task_in(Status.FAILED)
        announcement, *others = driver.run_internal()
        finished(announcement, timedelta(minutes=61))
        for other in others:
            finished(other, timedelta(minutes=59))

        assert lifecycle.prune() == 1

        assert set(Task.objects.all()) == {failed, *others}

    @pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.RETRYING])
    def test_an_unfinished_task_stays_however_old(self, driver: Driver, status: Status) -> None:
        task = driver.task_in(status)
        ages_ago = DatabaseNow() - timedelta(days=3650)
        Task.objects.update(run_after=ages_ago, enqueued_at=ages_ago, queued_at=ages_ago)

        assert lifecycle.prune() == 0

        assert driver.row(task).status == status

    def test_more_than_a_chunk_goes_at_once(self, driver: Driver) -> None:
        tasks.succeeds.enqueue_many([()] * 1001)
        Task.objects.update(
            status=Status.SUCCEEDED,
            run_after=None,
            finished_at=DatabaseNow() - timedelta(days=8),
        )

        assert [lifecycle.prune() for _ in range(2)] == [1001, 0]


def finished(task: Task, ago: timedelta) -> None:
    """Make a finished Task so much older."""
    Task.objects.filter(pk=task.pk).update(finished_at=DatabaseNow() - ago)


class TestSteps:
    @pytest.mark.parametrize("table", ["retrytasks_periodictask", "retrytasks_openbreaker"])
    def test_each_is_done_even_if_another_fails(self, driver: Driver, table: str) -> None:
        task = driver.task_in(Status.SUCCEEDED)
        Task.objects.update(finished_at=timezone.now() - timedelta(days=30))

        def refuse(execute: Any, sql: str, *details: Any) -> Any:
            if f"FROM {connection.ops.quote_name(table)}" in sql:
                raise OperationalError("a deadlock")
            return execute(sql, *details)

        with connection.execute_wrapper(refuse), pytest.raises(OperationalError, match="deadlock"):
            lifecycle.sweep()

        assert not Task.objects.filter(pk=task.pk).exists()
