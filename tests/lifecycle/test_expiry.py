"""A Task that no worker has started in time is dropped by the claim that finds it."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle, worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import claiming, due, lanes, pauses
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values.contract import TaskResultStatus
from tests.support import tasks
from tests.support.driver import KEY, Driver, Outcome
from tests.support.happenings import end_leases
from tests.support.rows import database_now

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def too_late(*results: Any) -> None:
    """Let the expiry of Tasks pass."""
    rows = Task.objects.filter(pk__in=[result.id for result in results])
    rows.update(expires_at=DatabaseNow() - timedelta(seconds=1))


def expired(count: int) -> list[Any]:
    """Enqueue Tasks, and let their expiry pass."""
    results = tasks.echoes.using(expires=60).enqueue_many([(n,) for n in range(count)])
    Task.objects.filter(expires_at__isnull=False).update(
        expires_at=DatabaseNow() - timedelta(seconds=1)
    )
    return results


def is_dropped(of: Any, driver: Driver) -> bool:
    row = driver.row(of)
    return (row.status, row.stop_reason) == (Status.DISCARDED, StopReason.EXPIRED)


class TestEnqueue:
    @pytest.mark.parametrize("expires", [90, 90.0, timedelta(seconds=90)])
    def test_seconds_count_from_enqueue_by_the_databases_clock(
        self, expires: Any, driver: Driver
    ) -> None:
        before = database_now()
        row = driver.row(tasks.echoes.using(expires=expires).enqueue(1))

        assert row.expires_at is not None
        assert row.expires_at - row.enqueued_at == timedelta(seconds=90)
        # SQLite stores milliseconds.
        assert before - timedelta(milliseconds=1) <= row.enqueued_at <= database_now()

    def test_fractions_of_a_second_count(self, driver: Driver) -> None:
        row = driver.row(tasks.echoes.using(expires=0.25).enqueue(1))

        assert row.expires_at is not None
        assert row.expires_at - row.enqueued_at == timedelta(seconds=0.25)

    def test_many_tasks_of_one_call_expire_together(self) -> None:
        tasks.echoes.using(expires=90).enqueue_many([(n,) for n in range(3)])

        [wait] = set(Task.objects.values_list(F("expires_at") - F("enqueued_at"), flat=True))
        assert wait == timedelta(seconds=90)

    def test_a_moment_is_stored_as_it_is(self, driver: Driver) -> None:
        moment = timezone.now() + HOUR

        assert driver.row(tasks.echoes.using(expires=moment).enqueue(1)).expires_at == moment

    def test_without_it_nothing_is_stored_and_no_statement_names_it(self, driver: Driver) -> None:
        with CaptureQueriesContext(connection) as queries:
            result = tasks.echoes.enqueue(1)

        assert driver.row(result).expires_at is None
        assert not any("expires_at" in query["sql"] for query in queries)


class TestClaim:
    def test_a_task_not_started_in_time_is_discarded_without_an_attempt(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="django_retrytasks")
        result = tasks.echoes.using(expires=60).enqueue(1)
        too_late(result)

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.stop_reason) == ("DISCARDED", "EXPIRED")
        assert row.finished_at is not None
        assert (row.run_after, row.wakeup_id, row.claim_token) == (None, None, None)
        assert (row.started_at, row.worker, row.attempt_count) == (None, "", 0)
        assert driver.attempts(result) == []
        assert not OrmQ.objects.exists()
        lines = [record for record in caplog.records if "expired" in record.getMessage()]
        assert [(line.levelname, line.getMessage()) for line in lines] == [
            ("INFO", f"Task expired: id={result.id} name={row.name} attempt=0")
        ]

    def test_its_result_says_failed(self, driver: Driver) -> None:
        [result] = expired(1)
        driver.run_due()

        result.refresh()

        assert (result.status, result.errors) == (TaskResultStatus.FAILED, [])

    def test_a_task_whose_moment_is_still_to_come_runs(self, driver: Driver) -> None:
        result = tasks.echoes.using(expires=60).enqueue(1)

        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED

    def test_an_alert_or_an_announcement_is_nothing_to_tell(self, driver: Driver) -> None:
        expired(1)

        driver.run_due()

        assert not Task.objects.filter(internal=True).exists()

    def test_due_tasks_beside_it_are_claimed_at_once(self, driver: Driver) -> None:
        late = expired(3)
        due_ones = tasks.echoes.enqueue_many([(n,) for n in range(5)])

        claimed = driver.claim(limit=50).tasks

        assert {str(task.pk) for task in claimed} == {result.id for result in due_ones}
        assert all(is_dropped(result, driver) for result in late)

    def test_due_tasks_behind_ten_thousand_are_found_by_one_claim(self, driver: Driver) -> None:
        expired(10_000)
        behind = tasks.succeeds.enqueue()

        claimed = driver.claim(limit=1).tasks

        assert [str(task.pk) for task in claimed] == [behind.id]
        assert Task.objects.filter(stop_reason=StopReason.EXPIRED).count() == 10_000
        assert not Attempt.objects.exists()

    def test_a_claim_that_finds_more_ends_and_the_worker_goes_on(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(claiming, "ROUNDS", 2)
        monkeypatch.setattr(due, "CHUNK", 10)
        expired(70)
        behind = tasks.succeeds.enqueue()

        claim = driver.claim(limit=1)
        dropped = Task.objects.filter(status=Status.DISCARDED).count()

        assert (list(claim.tasks), dropped) == ([], 22)
        assert claim.left
        driver.run_due()
        assert driver.row(behind).status == Status.SUCCEEDED
        assert Task.objects.filter(status=Status.DISCARDED).count() == 70

    def test_without_expired_tasks_it_takes_no_further_statement(self, driver: Driver) -> None:
        counts = []
        for expires in (None, 60):
            tasks.echoes.using(expires=expires).enqueue_many([(n,) for n in range(3)])
            with CaptureQueriesContext(connection) as queries:
                assert len(driver.claim().tasks) == 3
            counts.append(len(queries))

        assert counts[0] == counts[1]

    def test_a_task_in_a_lane_of_its_own_is_found(self, driver: Driver) -> None:
        late = tasks.echoes.using(expires=60, priority=5).enqueue(1)
        too_late(late)
        behind = [tasks.echoes.using(priority=n).enqueue(n) for n in range(-9, 4)]

        driver.run_due()

        assert is_dropped(late, driver)
        assert {driver.row(result).status for result in behind} == {Status.SUCCEEDED}

    def test_one_that_is_not_due_yet_is_left_until_it_is(self, driver: Driver) -> None:
        result = tasks.echoes.using(run_after=HOUR, expires=2 * HOUR).enqueue(1)
        too_late(result)
        driver.run_due()
        assert driver.row(result).status == Status.PENDING

        driver.attempt(result)

        assert is_dropped(result, driver)


class TestOnceStarted:
    def test_a_retry_never_expires(self, driver: Driver) -> None:
        result = tasks.fails_twice.using(expires=60).enqueue()
        [task] = driver.claim().tasks
        lifecycle.settle([driver.ending(task, Outcome.FAILED, countdown=0)])
        too_late(result)

        driver.drain()

        assert driver.row(result).status == Status.SUCCEEDED
        assert len(driver.attempts(result)) == 3

    def test_a_lost_attempt_is_recorded_and_retried(self, driver: Driver) -> None:
        result = tasks.echoes.using(expires=60).enqueue(1)
        driver.claim(limit=1)
        too_late(result)

        for _ in range(2):
            driver.attempt(result)

        assert [attempt.outcome for attempt in driver.attempts(result)] == ["LOST", "SUCCEEDED"]

    def test_one_that_a_dead_worker_may_have_started_is_run(self, driver: Driver) -> None:
        results = tasks.echoes.using(expires=60).enqueue_many([(1,), (2,)])
        assert len(driver.claim(limit=2).tasks) == 2
        end_leases()
        too_late(*results)

        for _ in range(4):
            driver.run_due()

        assert {driver.row(result).status for result in results} == {Status.SUCCEEDED}

    def test_one_given_back_unstarted_expires(self, driver: Driver) -> None:
        [result] = [tasks.echoes.using(expires=60).enqueue(1)]
        lifecycle.release(driver.claim(limit=1).tasks)
        too_late(result)

        driver.run_due()

        assert is_dropped(result, driver)

    def test_a_re_driven_task_does_not_expire(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.using(expires=60).enqueue()
        driver.run_due()
        too_late(result)
        assert lifecycle.redrive([uuid.UUID(result.id)]) == 1

        driver.run_due()

        assert [attempt.number for attempt in driver.attempts(result)] == [1, 2]

    def test_an_expired_task_cannot_be_re_driven(self, driver: Driver) -> None:
        [result] = expired(1)
        driver.run_due()

        assert lifecycle.redrive([uuid.UUID(result.id)]) == 0
        assert is_dropped(result, driver)


class TestPaused:
    def test_a_task_expires_while_its_function_is_paused(self, driver: Driver) -> None:
        result = tasks.echoes.using(expires=60).enqueue(1)
        pauses.pause(name="tests.support.tasks.echoes")
        driver.run_due()
        assert driver.row(result).is_parked
        too_late(result)

        pauses.resume(name="tests.support.tasks.echoes")
        driver.run_due()

        assert is_dropped(result, driver)

    def test_paused_and_expired_ones_hide_no_due_task(self, driver: Driver) -> None:
        pauses.pause(name="tests.support.tasks.succeeds")
        tasks.succeeds.enqueue_many([()] * 120)
        expired(120)
        behind = tasks.echoes.enqueue(1)

        due_now = lanes.survey().for_cluster(KEY).due
        paused = lanes.paused_now()
        claim = lifecycle.claim(due_now, limit=50, worker="host:1:one", paused=paused)

        assert [str(task.pk) for task in claim.tasks] == [behind.id]
        assert Task.objects.filter(stop_reason=StopReason.EXPIRED).count() == 120


class TestInline:
    def test_the_callers_process_drops_it_and_runs_the_others(self, driver: Driver) -> None:
        late, other = tasks.echoes.enqueue_many([(1,), (2,)])
        too_late(late)

        worker.run_inline({uuid.UUID(result.id) for result in (late, other)})

        assert is_dropped(late, driver)
        assert driver.row(other).status == Status.SUCCEEDED

    def test_the_immediate_backend_drops_what_expired_before(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.TASKS = {
            "default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        }

        result = tasks.echoes.using(expires=timezone.now() - HOUR).enqueue(1)

        assert result.status == TaskResultStatus.FAILED
        assert is_dropped(result, driver)
        assert tasks.echoes.using(expires=HOUR).enqueue(1).status == TaskResultStatus.SUCCESSFUL
