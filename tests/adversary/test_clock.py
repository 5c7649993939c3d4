"""Clocks that disagree, go back, or tell local time: only the database's clock counts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from tests import settings as site
from tests.support import tasks
from tests.support.cluster import running_cluster, wait_for
from tests.support.driver import Driver, wake_ups
from tests.support.rows import database_now, finished, lateness, outcomes
from tests.support.servers import default_database

FAILED, SUCCEEDED = Attempt.Outcome.FAILED, Attempt.Outcome.SUCCEEDED
APART = timedelta(minutes=10)
# What a Task may be late by on a busy machine; a clock that counted would make it ten minutes.
PROMPTLY = 5.0

on_other_hosts = [
    pytest.mark.cluster,
    pytest.mark.skipif(connection.vendor == "sqlite", reason="its clock is the one host's"),
    pytest.mark.django_db(transaction=True),
]


class Host:
    """A machine with a clock of its own."""

    def __init__(self, directory: Path, apart: timedelta) -> None:
        self._file = directory / f"clock{apart.total_seconds():+.0f}"
        self.log = self._file.with_suffix(".log")
        self.set(apart)

    def set(self, apart: timedelta) -> None:
        """Set the clock so far ahead of this machine's."""
        new = self._file.with_suffix(".new")
        new.write_text(str(apart.total_seconds()))
        new.replace(self._file)

    @contextmanager
    def running(self, **environment: str) -> Iterator[None]:
        """Run a cluster there."""
        with running_cluster(
            self.log,
            DJANGO_SETTINGS_MODULE="tests.support.settings.wrong_clock",
            CLOCK=str(self._file),
            **environment,
        ):
            yield


class TestHosts:
    pytestmark = on_other_hosts

    @pytest.mark.parametrize("apart", [APART, -APART], ids=["ahead", "behind"])
    def test_cluster_whose_clock_is_wrong_runs_tasks_and_retries_in_time(
        self, tmp_path: Path, apart: timedelta
    ) -> None:
        with Host(tmp_path, apart).running():
            told = finished(tasks.tells_time.enqueue()).return_value
            assert abs(told - time.time() - apart.total_seconds()) < PROMPTLY
            results = [tasks.fails_at_first.using(countdown=1.5).enqueue() for _ in range(5)]

            rows = [finished(result) for result in results]

        for row in rows:
            first, second = row.attempts.all()
            assert 0 <= lateness(first) < PROMPTLY
            assert 0 <= lateness(second) < PROMPTLY
            # Both by the database's clock, as is the end of the first attempt.
            assert second.queued_at - first.finished_at >= timedelta(seconds=1.5)
            assert row.finished_at is not None
            assert abs(row.finished_at - database_now()) < timedelta(seconds=30)

    def test_cluster_whose_clock_is_ahead_does_not_run_a_deferred_task_early(
        self, tmp_path: Path
    ) -> None:
        with Host(tmp_path, APART).running():
            result = tasks.succeeds.using(run_after=timezone.now() + timedelta(seconds=2)).enqueue()

            attempt = finished(result).attempts.get()

        assert 0 <= lateness(attempt) < PROMPTLY

    def test_cluster_whose_clock_is_behind_runs_a_deferred_task_with_the_sweep(
        self, tmp_path: Path
    ) -> None:
        with Host(tmp_path, -APART).running():
            result = tasks.succeeds.using(run_after=timezone.now() + timedelta(seconds=1)).enqueue()
            wait_for(lambda: Task.objects.due().exists())

            lifecycle.sweep()

            attempt = finished(result).attempts.get()
        assert 0 <= lateness(attempt) < PROMPTLY

    def test_no_task_runs_under_two_claims_on_hosts_twenty_minutes_apart(
        self, tmp_path: Path, noted_in: str
    ) -> None:
        with ExitStack() as stack:
            for apart in (APART, -APART):
                # To the one ahead, what the other pulls is long due to be delivered again.
                host = Host(tmp_path, apart).running(RETRYTASKS_LEASE="5", Q_CLUSTER_RETRY="61")
                stack.enter_context(host)
            tasks.sleeps_noting.enqueue_many([(noted_in, 6)] * 2)
            tasks.sleeps_noting.enqueue_many([(noted_in, 0.02)] * 100)
            wait_for(lambda: not Task.objects.unfinished().exists())

        assert Counter(tasks.noted(noted_in)) == {"start": 102, "end": 102}
        assert Counter(Attempt.objects.values_list("outcome", "number")) == {(SUCCEEDED, 1): 102}

    def test_clock_that_goes_back_ends_no_claim_and_holds_no_new_task_up(
        self, tmp_path: Path, noted_in: str
    ) -> None:
        host = Host(tmp_path, APART)
        with host.running(RETRYTASKS_LEASE="5"):
            long = tasks.sleeps_noting.enqueue(noted_in, 6)
            retried = tasks.fails_at_first.using(countdown=1.5).enqueue()
            wait_for(lambda: Attempt.objects.exists() and tasks.noted(noted_in))

            host.set(timedelta(0))

            assert 0 <= lateness(finished(tasks.succeeds.enqueue()).attempts.get()) < PROMPTLY
            assert outcomes(finished(long)) == [SUCCEEDED]
            # Its wake-up is now ten minutes away, but any other one serves it too.
            wait_for(lambda: not Task.objects.filter(run_after__gt=DatabaseNow()).exists())
            tasks.succeeds.enqueue()
            assert outcomes(finished(retried)) == [FAILED, SUCCEEDED]
        assert tasks.noted(noted_in) == ["start", "end"]


@pytest.fixture
def local_time() -> Iterator[None]:
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        yield


@pytest.mark.usefixtures("local_time")
@pytest.mark.django_db(transaction=True)
class TestLocalTime:
    """With ``USE_TZ = False``, in a zone that is not UTC and has summer time."""

    def test_database_tells_local_time(self) -> None:
        tasks.succeeds.enqueue()

        assert abs(database_now() - datetime.now()) < timedelta(seconds=5)

    def test_story_is_told_in_local_time(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        for _ in range(4):
            task = driver.attempt(result)

        assert (task.status, task.stop_reason) == (Status.FAILED, StopReason.MAX_RETRIES)
        assert task.retry_count == 3
        assert [one.outcome for one in driver.attempts(task)] == [FAILED] * 4
        for attempt in driver.attempts(task):
            assert timedelta(0) <= attempt.finished_at - attempt.started_at < timedelta(seconds=5)
            assert abs(attempt.finished_at - datetime.now()) < timedelta(seconds=30)

    def test_retry_is_due_after_its_countdown_and_its_wake_up_visible_then(
        self, driver: Driver
    ) -> None:
        result = tasks.always_fails.enqueue()

        driver.run_due()
        driver.run_due()

        task, [attempt] = driver.row(result), driver.attempts(result)
        assert task.status == Status.RETRYING
        assert task.run_after == attempt.next_run_after
        assert task.run_after is not None
        wait = task.run_after - attempt.finished_at
        assert timedelta(seconds=5) <= wait < timedelta(seconds=6)
        assert any(abs(wake.lock - task.run_after) < timedelta(seconds=2) for wake in wake_ups())

    def test_lease_holds_until_it_ends(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim().tasks
        assert task.claimed_at is not None

        assert driver.claim().tasks == ()
        assert lifecycle.heartbeat(task, started_at=task.claimed_at)

        driver.make_due(task)
        assert not lifecycle.heartbeat(task, started_at=task.claimed_at)
        assert lifecycle.settle([driver.ending(task)]) == []
        [lapsed] = driver.claim().tasks
        assert lapsed.lapsed

    def test_task_deferred_to_a_local_time_waits_for_it(self, driver: Driver) -> None:
        soon = datetime.now() + timedelta(seconds=1)
        result = tasks.succeeds.using(run_after=soon).enqueue()

        driver.run_due()
        assert driver.row(result).status == Status.PENDING

        wait_for(lambda: Task.objects.due().exists())
        driver.run_due()
        assert driver.attempts(result)[0].started_at >= soon

    @pytest.mark.cluster
    def test_cluster_that_keeps_local_time_runs_tasks_and_retries_in_time(
        self, tmp_path: Path
    ) -> None:
        with running_cluster(
            tmp_path / "log", DJANGO_SETTINGS_MODULE="tests.support.settings.local_time"
        ):
            task = finished(tasks.fails_at_first.using(countdown=1).enqueue())

        first, second = task.attempts.all()
        assert 0 <= lateness(first) < PROMPTLY
        assert 0 <= lateness(second) < PROMPTLY


@pytest.mark.skipif(connection.vendor != "mysql", reason="only MariaDB's answers depend on it")
@pytest.mark.django_db(transaction=True)
class TestSessionTimeZone:
    @pytest.fixture(autouse=True)
    def _far_east(self, transactional_db: None) -> Iterator[None]:
        usual = site.DATABASES["default"]
        options = usual["OPTIONS"] | {"init_command": "SET time_zone = '+05:00'"}
        with default_database({**usual, "OPTIONS": options}):
            yield

    def test_times_are_those_of_a_session_in_utc(self, driver: Driver) -> None:
        before = timezone.now() - timedelta(seconds=1)
        result = tasks.always_fails.enqueue()

        driver.run_due()
        driver.run_due()

        task, [attempt] = driver.row(result), driver.attempts(result)
        after = timezone.now() + timedelta(seconds=1)
        assert before < task.enqueued_at <= attempt.started_at <= attempt.finished_at < after
        assert task.run_after is not None
        assert timedelta(seconds=5) <= task.run_after - attempt.finished_at < timedelta(seconds=6)

    def test_lease_holds_until_it_ends(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim().tasks

        assert driver.claim().tasks == ()
        driver.make_due(task)
        assert [one.lapsed for one in driver.claim().tasks] == [True]
