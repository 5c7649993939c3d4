"""Stored Tasks run in the test's own process and transaction, and time passes by moving rows."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import RetryTaskContext, Snooze, retry_task
from django_retrytasks.lifecycle.pauses import pause, resume
from django_retrytasks.models import Status, Task
from django_retrytasks.signals import task_failed, task_succeeded
from django_retrytasks.testing import NotDrained, advance, drain, failing, step
from tests.support import tasks
from tests.support.driver import Driver, received
from tests.support.http_receiver import Receiver

pytestmark = pytest.mark.django_db

DAY = 86_400


@retry_task(max_retries=1, countdown=3 * DAY, max_countdown=3 * DAY, jitter=False)
def fails_for_days() -> None:
    raise ConnectionError("closed until Monday")


@retry_task(bind=True)
def snoozes_for_ever(self: RetryTaskContext) -> None:
    raise Snooze(60)


@retry_task
def enqueues_itself() -> None:
    enqueues_itself.enqueue()


@retry_task
def enqueues_a_later_one() -> None:
    tasks.succeeds.using(run_after=timedelta(hours=1)).enqueue()


@retry_task
def creates_group(name: str) -> None:
    Group.objects.create(name=name)


def numbers(attempts: list[Any]) -> list[tuple[str, int, str]]:
    return [(a.task.name.rpartition(".")[2], a.number, a.outcome) for a in attempts]


class TestDrain:
    def test_runs_what_is_due_and_lets_no_time_pass(self, driver: Driver) -> None:
        failed, ended = tasks.always_fails.enqueue(), tasks.echoes.enqueue(1)
        later = tasks.succeeds.using(run_after=timedelta(hours=1)).enqueue()

        attempts = drain()

        assert numbers(attempts) == [("always_fails", 1, "FAILED"), ("echoes", 1, "SUCCEEDED")]
        assert driver.row(failed).status == Status.RETRYING
        assert driver.row(ended).return_value == 1
        assert driver.row(later).status == Status.PENDING

    def test_runs_in_the_tests_own_transaction(self) -> None:
        with transaction.atomic():
            Group.objects.create(name="the test's")
            creates_group.enqueue("the task's")

            drain()

            assert set(Group.objects.values_list("name", flat=True)) == {"the test's", "the task's"}
            transaction.set_rollback(True)
        assert not Group.objects.exists()
        assert not Task.objects.exists()

    def test_leaves_the_transaction_usable_after_an_error_of_the_database(self) -> None:
        result = tasks.breaks_its_connection.enqueue()

        drain(until=result)

        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        assert connection.in_atomic_block

    def test_runs_what_its_tasks_enqueue(self) -> None:
        enqueues_a_later_one.enqueue()

        assert len(drain()) == 1
        assert len(drain(until=timedelta(hours=1))) == 1

    def test_leaves_no_wake_up_behind(self) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=result)

        assert not OrmQ.objects.exists()

    def test_announces_a_final_failure_and_sends_the_signals(self) -> None:
        with received(task_failed) as failed, received(task_succeeded) as succeeded:
            result = tasks.fails_once_for_all.enqueue()
            tasks.succeeds.enqueue()
            attempts = drain()

        assert numbers(attempts) == [
            ("fails_once_for_all", 1, "FAILED"),
            ("succeeds", 1, "SUCCEEDED"),
        ]
        assert [str(told["task"].pk) for told in failed] == [result.id]
        assert len(succeeded) == 1
        assert not Task.objects.unfinished().exists()

    def test_runs_coroutine_functions(self, driver: Driver) -> None:
        results = [tasks.waits_and_returns.enqueue(n) for n in range(3)]

        drain()

        assert [driver.row(result).return_value for result in results] == [0, 1, 2]

    def test_records_a_lost_attempt_once_the_lease_is_over(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        driver.claim(limit=1)

        attempts = drain(until=result)

        assert [attempt.outcome for attempt in attempts] == ["LOST", "SUCCEEDED"]

    def test_holds_its_claim_however_long_the_function_takes(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"LEASE": 1}
        result = tasks.sleeps.using(timeout=5).enqueue(1.2)

        drain()

        assert driver.row(result).status == Status.SUCCEEDED

    def test_works_in_sync_mode_where_a_test_never_commits(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_q.conf.Conf.SYNC", True)
        result = tasks.fails_twice.enqueue()

        drain(until=result)

        assert driver.row(result).return_value == 3

    @pytest.mark.django_db(transaction=True)
    def test_works_outside_a_transaction_too(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=result)

        assert driver.row(result).stop_reason == "MAX_RETRIES"

    def test_lets_a_keyboard_interrupt_through(self) -> None:
        tasks.is_interrupted.enqueue()

        with pytest.raises(KeyboardInterrupt):
            drain()


class TestUntil:
    def test_a_task_is_finished_lets_days_pass_in_no_time(self, driver: Driver) -> None:
        began = time.monotonic()
        result = fails_for_days.enqueue()

        attempts = drain(until=result)

        assert time.monotonic() - began < 5
        assert numbers(attempts) == [
            ("fails_for_days", 1, "FAILED"),
            ("fails_for_days", 2, "FAILED"),
        ]
        first, second = driver.attempts(result)
        days = (second.started_at - first.started_at).total_seconds() / DAY
        assert days == pytest.approx(3, abs=0.001)

    def test_a_row_will_do_as_well(self, driver: Driver) -> None:
        task = driver.row(tasks.fails_twice.enqueue())

        assert len(drain(until=task)) == 3

    def test_a_task_is_finished_leaves_later_ones_alone(self, driver: Driver) -> None:
        later = tasks.succeeds.using(run_after=timedelta(days=1)).enqueue()

        drain(until=tasks.always_fails.enqueue())

        assert driver.row(later).status == Status.PENDING

    def test_a_callable_returns_true(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=lambda: driver.row(result).retry_count == 2)

        assert len(driver.attempts(result)) == 2

    @pytest.mark.parametrize("until", [15.5, timedelta(seconds=15.5)])
    def test_seconds_have_passed(self, driver: Driver, until: Any) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=until)

        assert len(driver.attempts(result)) == 3
        assert advance() == pytest.approx(35 - 15.5, abs=1)

    def test_a_moment_has_come(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=timezone.now() + timedelta(seconds=8))

        assert len(driver.attempts(result)) == 2

    def test_a_moment_that_has_passed_lets_no_time_pass(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        drain(until=timezone.now() - timedelta(days=1))

        assert len(driver.attempts(result)) == 1

    @pytest.mark.parametrize("until", [tasks.echoes, "soon", True, [], object()])
    def test_anything_else_is_refused(self, until: Any) -> None:
        with pytest.raises(TypeError, match="until must be"):
            drain(until=until)

    @pytest.mark.parametrize("until", [-1, float("nan"), 10**9])
    def test_a_wrong_duration_is_refused(self, until: Any) -> None:
        with pytest.raises(ValueError, match="until must be"):
            drain(until=until)


class TestNoEnd:
    def test_of_a_snooze_is_an_error_that_names_the_task(self) -> None:
        result = snoozes_for_ever.enqueue()

        with pytest.raises(NotDrained) as error:
            drain(until=result, limit=20)

        assert "due after 20 attempts" in str(error.value)
        assert f"snoozes_for_ever: 20 attempts of 1 Tasks, the last one of {__name__}" in str(
            error.value
        )
        assert result.id in str(error.value)

    def test_of_a_chain_is_an_error_that_names_the_function(self) -> None:
        enqueues_itself.enqueue()

        with pytest.raises(NotDrained, match="enqueues_itself: 20 attempts of 20 Tasks"):
            drain(limit=20)

    def test_is_noticed_without_a_limit_of_ones_own(self) -> None:
        enqueues_itself.enqueue()

        with pytest.raises(NotDrained, match="due after 500 attempts"):
            drain()

    def test_is_no_error_if_the_limit_is_just_enough(self) -> None:
        tasks.echoes.enqueue_many([(n,) for n in range(5)])

        assert len(drain(limit=5)) == 5

    @pytest.mark.parametrize("limit", [0, -1, 1.5, None])
    def test_a_wrong_limit_is_refused(self, limit: Any) -> None:
        with pytest.raises((TypeError, ValueError), match="limit must be"):
            drain(limit=limit)

    def test_of_waiting_for_what_does_not_come(self) -> None:
        tasks.succeeds.enqueue()

        with pytest.raises(NotDrained, match="no Task waits any more"):
            drain(until=lambda: False)

    def test_of_waiting_for_a_paused_task_says_so(self) -> None:
        result = tasks.succeeds.enqueue()
        pause(name="tests.support.tasks.succeeds")

        with pytest.raises(NotDrained, match="its queue or function is paused"):
            drain(until=result)

        resume(name="tests.support.tasks.succeeds")
        assert len(drain(until=result)) == 1

    def test_of_waiting_for_a_deleted_task(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        driver.row(result).delete()

        with pytest.raises(AssertionError, match="is not stored: it was deleted"):
            drain(until=result)


class TestStep:
    def test_lets_a_task_be_looked_at_between_attempts(self, driver: Driver) -> None:
        result = tasks.fails_twice.using(countdown=5, jitter=False).enqueue()

        first = step()
        between = driver.row(result)
        assert step() is None
        waited = advance()
        second = step()

        assert first is not None
        assert second is not None
        assert (first.number, first.outcome, first.decision) == (
            1,
            "FAILED",
            "retry 1 of 5 in 5 s",
        )
        assert (between.status, between.retry_count) == (Status.RETRYING, 1)
        assert waited == pytest.approx(5, abs=1)
        assert (second.number, second.retry_count) == (2, 1)

    def test_runs_announcements_along(self) -> None:
        tasks.fails_once_for_all.enqueue()
        with received(task_failed) as failed:
            assert step() is not None
            tasks.succeeds.enqueue()

            attempt = step()
            assert step() is None

        assert attempt is not None
        assert attempt.task.name.endswith("succeeds")
        assert len(failed) == 1


class TestAlerts:
    @pytest.fixture(autouse=True)
    def _hook(self, settings: Any, receiver: Receiver) -> None:
        hook = {"sink": "django_retrytasks.alerts.webhook", "url": receiver.url()}
        settings.RETRYTASKS = {"ALERTS": ["django_retrytasks.alerts.mail_admins", hook]}

    def test_are_not_sent(self, receiver: Receiver, mailoutbox: list[Any]) -> None:
        tasks.fails_once_for_all.enqueue()

        drain()

        assert (receiver.posted, mailoutbox) == ([], [])

    def test_are_sent_where_that_is_asked_for(
        self, receiver: Receiver, mailoutbox: list[Any]
    ) -> None:
        tasks.fails_once_for_all.enqueue()

        drain(send_alerts=True)

        assert (len(receiver.posted), len(mailoutbox)) == (1, 1)


def test_drain_in_a_coroutine_is_for_sync_to_async() -> None:
    async def test() -> list[Any]:
        await tasks.echoes.aenqueue(1)
        return await sync_to_async(drain)()

    assert len(async_to_sync(test)()) == 1


def test_failures_made_by_the_test_are_retried(driver: Driver) -> None:
    result = tasks.echoes.enqueue(7)

    with failing(tasks.echoes, times=2, exc=TimeoutError("slow")):
        drain(until=result)

    assert [a.outcome for a in driver.attempts(result)] == ["FAILED", "FAILED", "SUCCEEDED"]
