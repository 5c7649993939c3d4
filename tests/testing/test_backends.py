"""The backends for tests and development, swapped in by one setting."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ
from pytest_django import Settings

from django_retrytasks import retry_task
from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.signals import task_failed
from django_retrytasks.testing import DummyBackend, ImmediateBackend
from django_retrytasks.values.contract import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.support import tasks
from tests.support.driver import Driver, received
from tests.support.third_party import tasks as plain
from tests.support.unique import reminds, ships_once

pytestmark = pytest.mark.django_db


@retry_task
def enqueues_another(text: str) -> str:
    """Return what the other one returned."""
    return str(tasks.echoes.enqueue(text).return_value)


def use(settings: Settings, name: str, **params: Any) -> Mapping[str, Any]:
    backend = f"django_retrytasks.testing.{name}"
    settings.TASKS = {"default": {"BACKEND": backend, "QUEUES": [], **params}}
    return params


class TestImmediateBackend:
    @pytest.fixture(autouse=True)
    def _immediate(self, settings: Settings) -> None:
        use(settings, "ImmediateBackend")

    def test_it_stands_in_by_one_setting(self) -> None:
        assert isinstance(plain.breaks.get_backend(), ImmediateBackend)
        assert isinstance(tasks.echoes.get_backend(), ImmediateBackend)

    @pytest.mark.parametrize("verb", ["enqueue", "aenqueue"])
    @pytest.mark.parametrize("called", [tasks.echoes, tasks.waits_and_returns])
    def test_the_result_is_that_of_a_task_that_has_run(self, called: Any, verb: str) -> None:
        enqueue = getattr(called, verb)

        result = (async_to_sync(enqueue) if verb == "aenqueue" else enqueue)(42)

        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, 42)
        assert (result.task, result.args, result.attempts) == (called, [42], 1)
        assert result.enqueued_at <= result.started_at <= result.finished_at
        assert result.last_attempted_at is not None

    def test_it_really_retries_and_skips_the_delays(self, driver: Driver) -> None:
        began = time.monotonic()

        result = tasks.always_fails.enqueue()

        assert time.monotonic() - began < 5
        assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 4)
        assert [error.exception_class for error in result.errors] == [ConnectionError] * 4
        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 3 in 5 s",
            "retry 2 of 3 in 10 s",
            "retry 3 of 3 in 20 s",
            "max_retries reached (3 retries)",
        ]

    def test_a_plain_task_is_retried_till_it_succeeds(self) -> None:
        result = plain.prints_at_third_attempt.enqueue("page")

        assert result.return_value == "page at attempt 3"
        assert [e.exception_class for e in result.errors] == [ConnectionError, TimeoutError]

    def test_the_signals_are_those_of_a_cluster(self) -> None:
        with (
            received(task_enqueued) as enqueued,
            received(task_started) as started,
            received(task_finished) as finished,
        ):
            result = tasks.fails_twice.enqueue()

        told = [enqueued, started, finished]
        assert [len(signals) for signals in told] == [1, 1, 1]
        assert [signals[0]["sender"] for signals in told] == [ImmediateBackend] * 3
        assert [signals[0]["task_result"].id for signals in told] == [result.id] * 3
        assert finished[0]["task_result"].return_value == 3

    def test_a_final_failure_is_announced(self, driver: Driver) -> None:
        def receiver(**details: Any) -> None:
            heard.append(str(details["task"].pk))

        heard: list[str] = []
        task_failed.connect(receiver)
        result = tasks.fails_once_for_all.enqueue()
        task_failed.disconnect(receiver)
        backend = task_backends["default"]

        assert isinstance(backend, ImmediateBackend)

        assert heard == [result.id]
        assert len(backend.alerts) == 1
        assert not Row.objects.unfinished().exists()

    def test_no_wake_up_is_left_to_a_cluster(self) -> None:
        tasks.always_fails.enqueue()
        tasks.succeeds.using(run_after=timezone.now() + timedelta(days=1)).enqueue()

        assert not OrmQ.objects.exists()
        assert not Row.objects.unfinished().exists()

    def test_a_task_that_enqueues_another_has_its_result_at_once(self) -> None:
        result = enqueues_another.enqueue("inner")

        assert result.return_value == "inner"
        assert Row.objects.filter(status=Status.SUCCEEDED).count() == 2

    def test_many_are_run_in_their_order(self) -> None:
        results = tasks.echoes.enqueue_many([(1,), (2,), {"value": 3}])

        assert [result.return_value for result in results] == [1, 2, 3]

    def test_it_does_not_wait_for_the_commit(self) -> None:
        with transaction.atomic():
            result = tasks.succeeds.enqueue()

            assert result.status == TaskResultStatus.SUCCESSFUL

    def test_a_rollback_takes_the_rows_back(self) -> None:
        with transaction.atomic():
            result = tasks.succeeds.enqueue()
            transaction.set_rollback(True)

        with pytest.raises(TaskResultDoesNotExist):
            tasks.succeeds.get_result(result.id)

    def test_an_error_of_the_database_leaves_the_callers_transaction_usable(self) -> None:
        with transaction.atomic():
            result = tasks.breaks_its_connection.enqueue()

            assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 4)
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    def test_a_transaction_that_was_to_be_rolled_back_is_so_to_the_attempts_start(self) -> None:
        with transaction.atomic():
            Group.objects.create(name="the caller's")

            result = tasks.breaks_after_writing.enqueue("the task's")

        assert (result.status, result.attempts) == (TaskResultStatus.FAILED, 2)
        assert [group.name for group in Group.objects.all()] == ["the caller's"]

    def test_results_are_fetched_and_refreshed(self) -> None:
        result = tasks.echoes.enqueue(1)

        result.refresh()

        assert tasks.echoes.get_result(result.id) == result
        with pytest.raises(TaskResultMismatch):
            tasks.succeeds.get_result(result.id)

    def test_a_keyboard_interrupt_goes_through(self) -> None:
        with pytest.raises(KeyboardInterrupt):
            tasks.is_interrupted.enqueue()

    def test_a_base_exception_does_not(self) -> None:
        result = plain.exits.enqueue()

        assert [error.exception_class for error in result.errors] == [SystemExit]

    def test_a_wrong_call_is_refused_as_ever(self) -> None:
        with pytest.raises(TypeError, match="argument 'value' cannot be stored"):
            tasks.echoes.enqueue(object())
        with pytest.raises(TypeError, match="too many positional arguments"):
            tasks.succeeds.enqueue(1)  # type: ignore[call-arg]

        assert not Row.objects.exists()

    def test_a_unique_task_is_over_before_the_next_is_enqueued(self) -> None:
        results = [ships_once.enqueue(1), ships_once.enqueue(1)]

        assert [result.created for result in results] == [True, True]
        assert [result.is_finished for result in results] == [True, True]

    def test_within_its_period_the_first_is_returned(self) -> None:
        first, second = reminds.enqueue(1), reminds.enqueue_many([(1,)])[0]

        assert (first.created, second.created) == (True, False)
        assert second == first

    def test_it_takes_the_options_of_the_real_one(self, settings: Settings) -> None:
        use(settings, "ImmediateBackend", OPTIONS={"max_retries": 1})

        assert plain.breaks.enqueue().attempts == 2


class TestDummyBackend:
    @pytest.fixture(autouse=True)
    def _dummy(self, settings: Settings) -> None:
        use(settings, "DummyBackend")

    @property
    def backend(self) -> Any:
        return task_backends["default"]

    @pytest.mark.parametrize("verb", ["enqueue", "aenqueue"])
    @pytest.mark.parametrize("called", [plain.sends_receipt, plain.fetches, tasks.echoes])
    def test_it_keeps_what_is_enqueued_and_runs_nothing(self, called: Any, verb: str) -> None:
        enqueue = getattr(called, verb)

        result = (async_to_sync(enqueue) if verb == "aenqueue" else enqueue)(42)

        assert isinstance(self.backend, DummyBackend)
        assert self.backend.results == [result]
        assert (result.task, result.args, result.status) == (called, [42], TaskResultStatus.READY)
        assert (result.attempts, result.errors, result.is_finished) == (0, [], False)
        assert result.enqueued_at is not None
        assert (result.started_at, result.last_attempted_at, result.finished_at) == (None,) * 3
        with pytest.raises(ValueError, match="has not finished yet"):
            _ = result.return_value
        assert not Row.objects.exists()
        assert not OrmQ.objects.exists()

    def test_it_needs_no_database(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            tasks.echoes.enqueue_many([(1,), (2,)])

        assert [result.args for result in self.backend.results] == [[1], [2]]

    def test_a_unique_task_holds_its_key_until_all_is_cleared(self) -> None:
        first = ships_once.enqueue(1)
        again, other, twice = ships_once.enqueue_many([(1,), (2,), (2,)])

        assert (first.created, again.created, again.id) == (True, False, first.id)
        assert (other.created, twice.created, twice.id) == (True, False, other.id)
        assert [result.args for result in self.backend.results] == [[1], [2]]

        self.backend.clear()
        assert ships_once.enqueue(1).created

    def test_what_was_enqueued_is_fetched_and_refreshed(self) -> None:
        result = tasks.echoes.enqueue(1)

        result.refresh()

        assert tasks.echoes.get_result(result.id) == result
        assert async_to_sync(self.backend.aget_result)(result.id) == result
        with pytest.raises(TaskResultMismatch):
            tasks.succeeds.get_result(result.id)

    def test_an_unknown_id_does_not_exist(self) -> None:
        with pytest.raises(TaskResultDoesNotExist, match="123"):
            self.backend.get_result("123")

    def test_what_is_cleared_does_not_exist(self) -> None:
        result = tasks.echoes.enqueue(1)

        self.backend.clear()

        assert self.backend.results == []
        with pytest.raises(TaskResultDoesNotExist, match=result.id):
            self.backend.get_result(result.id)

    def test_only_the_signal_of_enqueueing_is_sent(self) -> None:
        with received(task_enqueued) as enqueued, received(task_started) as started:
            result = tasks.echoes.enqueue(1)

        assert [told["task_result"] for told in enqueued] == [result]
        assert enqueued[0]["sender"] is DummyBackend
        assert started == []

    def test_a_call_is_checked_as_the_real_backend_checks_it(self, settings: Settings) -> None:
        with pytest.raises(TypeError, match="argument 'value' cannot be stored"):
            tasks.echoes.enqueue(object())
        with pytest.raises(TypeError, match="missing a required argument"):
            plain.sends_receipt.enqueue()  # type: ignore[call-arg]
        use(settings, "DummyBackend", QUEUES=["letters"])
        with pytest.raises(InvalidTask, match="Queue 'default' is not valid"):
            tasks.echoes.enqueue(1)

    def test_it_does_not_say_that_any_process_can_fetch(self) -> None:
        assert self.backend.supports_get_result is False

    def test_it_keeps_what_a_rollback_would_take_back(self) -> None:
        with transaction.atomic():
            result = tasks.echoes.enqueue(1)
            transaction.set_rollback(True)

        assert self.backend.results == [result]
