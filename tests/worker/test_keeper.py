"""A worker is noted while it lives, and the sweep goes on where django-q2's scheduler does not."""

from __future__ import annotations

import logging
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from django_retrytasks import health
from django_retrytasks.broker import clusters, sweep_schedule, wakeups
from django_retrytasks.lifecycle import workers
from django_retrytasks.models import Status, Task, Worker
from django_retrytasks.worker import keeper
from tests.support import tasks
from tests.support.cluster import running_cluster, wait_for
from tests.support.driver import Driver, in_another_session, wake_ups

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def scheduled(db: None) -> None:
    sweep_schedule.ensure_sweep()


def handed_ago(seconds: float) -> None:
    """Have the sweep been handed to a cluster so long ago."""
    at = timezone.now() - timedelta(seconds=seconds)
    Schedule.objects.update(next_run=at + timedelta(minutes=wakeups.SWEEP_MINUTES))


def handed() -> list[str]:
    """Return what the wake-ups of the default cluster call."""
    return [SignedPackage.loads(row.payload)["func"] for row in wake_ups()]


class TestLook:
    def test_a_sweep_that_is_overdue_is_handed_to_the_cluster_once(self) -> None:
        handed_ago(101)

        first, second = keeper.keep_swept(), keeper.keep_swept()

        assert handed() == ["django_retrytasks.worker.sweep"]
        assert first == pytest.approx(100, abs=1)
        assert second == pytest.approx(100, abs=5)
        swept_at = health.check().swept_at
        assert swept_at is not None
        assert timezone.now() - swept_at < timedelta(seconds=10)

    def test_one_that_goes_well_is_looked_at_again_when_it_would_be_overdue(self) -> None:
        handed_ago(30)

        assert keeper.keep_swept() == pytest.approx(70, abs=5)

        assert handed() == []

    def test_a_clock_that_was_set_back_does_not_put_it_off(self) -> None:
        handed_ago(-3600)

        keeper.keep_swept()

        assert handed() == ["django_retrytasks.worker.sweep"]

    @pytest.mark.parametrize("ago", [99, 1000])
    def test_a_look_is_never_followed_by_another_at_once(self, ago: float) -> None:
        handed_ago(ago)

        assert keeper.keep_swept() >= 10

    def test_one_that_is_switched_off_stays_so(self) -> None:
        handed_ago(1000)
        Schedule.objects.update(repeats=0)

        assert keeper.keep_swept() == 100

        assert handed() == []

    def test_the_log_names_what_the_scheduler_cannot_run(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        handed_ago(1000)
        Schedule.objects.create(name="nightly", func="math.floor", args="1, (")

        with caplog.at_level(logging.INFO, "django_retrytasks"):
            keeper.keep_swept()

        [record] = caplog.records
        assert record.levelno == logging.ERROR
        assert "cannot run the schedule nightly" in record.getMessage()

    @pytest.mark.django_db(transaction=True)
    def test_of_several_workers_one_hands_it_over(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("one session at a time writes here")
        handed_ago(1000)

        sessions = [in_another_session(sweep_schedule.hand_overdue_sweep) for _ in range(4)]

        assert sorted(session.result() for session in sessions) == [False] * 3 + [True]
        assert len(wake_ups()) == 1


@pytest.mark.django_db(transaction=True)
def test_a_function_that_django_q2_runs_in_the_callers_process_starts_no_thread() -> None:
    async_task("math.floor", 1.5, sync=True, save=False)

    assert "retrytasks-keeper" not in {thread.name for thread in threading.enumerate()}


class TestNote:
    def test_worker_is_noted_with_the_last_time_it_looked_for_work(self, driver: Driver) -> None:
        driver.run_due()

        keeper.note_worker(time.monotonic() - 60)

        row = Worker.objects.get()
        assert (row.name, row.cluster) == (clusters.worker_name(), clusters.own_key())
        assert row.seen_at - row.started_at == pytest.approx(MINUTE, abs=SECOND)
        assert row.served_at is not None
        assert row.seen_at - row.served_at < 5 * SECOND

    def test_no_task_costs_a_statement(self, driver: Driver) -> None:
        tasks.succeeds.enqueue_many([()] * 3)

        with CaptureQueriesContext(connection) as queries:
            driver.run_due()

        assert len(queries) > 3
        assert [query for query in queries if "retrytasks_worker" in query["sql"]] == []


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL tells what ran last")
def test_each_worker_has_its_connection_before_the_first_task(tmp_path: Path) -> None:
    def connections_that_have_looked() -> int:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND query LIKE 'WITH RECURSIVE found%retrytasks_task%'"
            )
            return int(cursor.fetchone()[0])

    with running_cluster(tmp_path / "cluster.log"):
        wait_for(lambda: connections_that_have_looked() == 2)

        assert not Task.objects.exists()


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_each_worker_of_a_cluster_is_noted_while_it_lives(tmp_path: Path, driver: Driver) -> None:
    with running_cluster(tmp_path / "cluster.log") as cluster:
        wait_for(lambda: workers.alive().count() == 2)
        rows = list(Worker.objects.order_by("name"))
        result = tasks.succeeds.enqueue()
        wait_for(lambda: driver.row(result).status == Status.SUCCEEDED)
        pids = {int(row.name.split(":")[1]) for row in rows}

        assert pids == set(cluster.having("worker"))
        assert {row.cluster for row in rows} == {clusters.own_key()}
        assert driver.row(result).worker in {row.name for row in rows}


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_a_task_whose_wake_up_is_lost_runs_though_the_scheduler_stands_still(
    tmp_path: Path, driver: Driver
) -> None:
    handed_ago(1000)
    Schedule.objects.create(name="nightly", func="math.floor", args="1, (")
    log = tmp_path / "cluster.log"

    with running_cluster(log):
        soon = timezone.now() + timedelta(seconds=5)
        result = tasks.succeeds.using(run_after=soon).enqueue()
        OrmQ.objects.all().delete()
        wait_for(lambda: driver.row(result).status == Status.SUCCEEDED, 40)

    assert "cannot run the schedule nightly" in log.read_text()
    assert Task.objects.unfinished().count() == 0
