"""What a function does to its exceptions, connections and surroundings costs its attempt alone."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings

from django_retrytasks import Retry
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed
from django_retrytasks.values.contract import task_finished
from django_retrytasks.worker import batch, sessions, telling
from tests.support import hostile, session_tasks, tasks
from tests.support.driver import Driver, received

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Attempt.Outcome
IMMEDIATE = {"default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}}


class TestExceptions:
    @pytest.mark.parametrize(
        ("task", "path"),
        [
            (hostile.raises_from_itself, "builtins.ValueError"),
            (hostile.raises_the_cause_of_its_wrapper, "builtins.ZeroDivisionError"),
            (hostile.raises_a_long_chain, "builtins.ValueError"),
            (hostile.raises_a_deep_group, "builtins.ExceptionGroup"),
        ],
    )
    def test_a_walk_over_causes_ends(self, driver: Driver, task: Any, path: str) -> None:
        result = task.enqueue()

        neighbours = driver.run_beside_neighbours(result)
        driver.drain()

        assert neighbours == [Status.SUCCEEDED] * 2
        assert driver.row(result).status == Status.FAILED
        recorded = [(one.exception_class_path, one.outcome) for one in driver.attempts(result)]
        assert recorded == [(path, Outcome.FAILED)] * 2

    def test_it_ends_where_the_caller_waits_as_well(self) -> None:
        with override_settings(TASKS=IMMEDIATE):
            result = hostile.raises_from_itself.enqueue()

        assert Task.objects.get(pk=result.id).status == Status.FAILED

    @pytest.mark.parametrize(
        ("kind", "class_name", "message"),
        [
            ("no truth", "Untrue", ""),
            ("no equal", "Unequal", ""),
            ("no cause", "Causeless", ""),
            ("no class", "Nobody", ""),
            ("exits", "Exits", "<the exception's __str__ raised SystemExit>"),
            ("no name", "Unnamed", ""),
            ("demanding", "Demanding", ""),
        ],
    )
    def test_a_strange_exception_is_recorded_and_retried(
        self, driver: Driver, kind: str, class_name: str, message: str
    ) -> None:
        result = hostile.raises_strange.enqueue(kind)

        neighbours = driver.run_beside_neighbours(result)
        driver.drain()

        assert neighbours == [Status.SUCCEEDED] * 2
        attempts = driver.attempts(result)
        paths = [f"tests.support.hostile.{class_name}"] * 2
        assert [one.exception_class_path for one in attempts] == paths
        assert [one.exception_message for one in attempts] == [message] * 2
        assert "in raises_strange" in attempts[0].traceback

    def test_a_message_that_takes_too_long_is_left_out(self, driver: Driver) -> None:
        result = hostile.raises_endless.enqueue()
        began = time.monotonic()

        driver.run_due()

        assert time.monotonic() - began < 15
        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "tests.support.hostile.Endless"
        assert attempt.exception_message == "message unavailable"
        assert "in raises_endless" in attempt.traceback

    @pytest.mark.parametrize("task", [hostile.raises_falsy, hostile.retries_falsy])
    def test_an_exception_that_is_false_is_told_of(self, driver: Driver, task: Any) -> None:
        seen: list[BaseException | None] = []

        def finished(**details: Any) -> None:
            seen.append(sys.exception())

        task.enqueue()
        task_finished.connect(finished)
        try:
            with received(attempt_failed) as calls:
                driver.run_due()
        finally:
            task_finished.disconnect(finished)

        assert [type(call["exception"]) for call in calls] == [hostile.Errors]
        assert [type(one) for one in seen] == [hostile.Errors]

    def test_an_instance_raised_again_and_again_has_the_frames_of_its_last_raise(
        self, driver: Driver
    ) -> None:
        result = hostile.raises_the_same.enqueue()

        driver.drain()

        texts = [one.traceback for one in driver.attempts(result)]
        assert [text.count("in raises_the_same") for text in texts] == [1, 1, 1, 1]
        assert len({len(text) for text in texts}) == 1


class TestSteering:
    def test_a_retry_within_a_broad_except_keeps_its_cause_and_countdown(
        self, driver: Driver
    ) -> None:
        result = hostile.retries_twice_over.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.decision == "retry 1 of 3 in 30 s"

    def test_a_discard_within_a_broad_except_discards(self, driver: Driver) -> None:
        result = hostile.discards_within_a_broad_except.enqueue()

        driver.run_due()

        assert driver.row(result).status == Status.DISCARDED
        assert driver.attempts(result)[0].decision == "discarded: no such order"

    @pytest.mark.parametrize(
        ("how", "mistake"),
        [
            ("negative", "countdown must be at least 0 and at most 31622400 seconds, not -1"),
            ("naive", "eta must be aware: use django.utils.timezone.make_aware"),
            ("both", "give countdown or eta, not both"),
            ("no exception", "exc must be an exception instance, not 'text'"),
            ("negative count", "max_retries must be from 0 to 2147483647, not -1"),
        ],
    )
    def test_a_mistaken_retry_keeps_the_cause_and_names_the_mistake(
        self, driver: Driver, how: str, mistake: str
    ) -> None:
        result = hostile.retries_wrongly.enqueue(how)

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.decision == f"retry 1 of 3 in 7 s; self.retry(): {mistake}"

    @pytest.mark.parametrize(
        "eta", [datetime(2026, 1, 1, 12), datetime(2026, 1, 1, 11, tzinfo=UTC)]
    )
    def test_an_eta_is_naive_or_aware_where_use_tz_is_off(self, eta: datetime) -> None:
        with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
            retry = Retry(eta=eta)

        assert retry.eta == datetime(2026, 1, 1, 11, tzinfo=UTC)

    @pytest.mark.parametrize(
        ("kind", "status", "decision"),
        [
            ("all retried", Status.RETRYING, "retry 1 of 3"),
            ("nested", Status.RETRYING, "retry 1 of 3"),
            ("one not retried", Status.FAILED, "KeyError is not in retry_on"),
            ("one refused", Status.FAILED, "ConnectionRefusedError is in no_retry_on"),
            ("exit", Status.FAILED, "SystemExit is not in retry_on"),
            ("discards", Status.DISCARDED, "discarded: not needed"),
            ("discard beside", Status.RETRYING, "retry 1 of 3"),
            ("snooze and discard", Status.PENDING, "snoozed for 60 s"),
        ],
    )
    def test_the_leaves_of_a_group_decide(
        self, driver: Driver, kind: str, status: Status, decision: str
    ) -> None:
        result = hostile.raises_group.enqueue(kind)

        driver.run_due()

        assert driver.row(result).status == status
        assert driver.attempts(result)[0].decision.startswith(decision)

    def test_a_retry_in_a_group_keeps_its_cause_and_countdown(self, driver: Driver) -> None:
        result = hostile.retries_in_a_group.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.decision == "retry 1 of 3 in 30 s"

    @pytest.mark.parametrize(
        "task", [hostile.raises_cancelled, hostile.raises_cancelled_asynchronously]
    )
    def test_a_cancellation_that_the_function_raised_is_retried(
        self, driver: Driver, task: Any
    ) -> None:
        result = task.enqueue()

        driver.run_due()

        assert driver.row(result).status == Status.RETRYING
        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path.endswith(".CancelledError")


class TestCalls:
    def test_keywords_named_like_ours_reach_the_function(self, driver: Driver) -> None:
        plain = hostile.fetches.enqueue("u", timeout=5, func="g")
        several = hostile.fetches_asynchronously.enqueue(
            "u", seconds=3, value=4, context="c", call="d"
        )
        names = ("self", "task", "timeout", "func", "args", "kwargs", "call", "signature")
        others = hostile.takes_any.apply_async(kwargs=dict.fromkeys(names, 1))

        driver.run_due()

        assert driver.row(plain).return_value == ["u", 5, "g"]
        assert driver.row(several).return_value == ["u", 3, 4, "c", "d"]
        assert driver.row(others).return_value == sorted(names)

    def test_what_is_awaitable_is_awaited(self, driver: Driver) -> None:
        result = hostile.doubles.enqueue(21)

        driver.run_due()

        assert driver.row(result).return_value == 42

    def test_it_is_awaited_within_the_timeout(self, driver: Driver) -> None:
        result = hostile.waits.enqueue(30)

        driver.run_due()

        assert [one.outcome for one in driver.attempts(result)] == [Outcome.TIMED_OUT]


class TestConnections:
    """What is left on a connection is gone before the next Task; see also test_poison.py."""

    @pytest.fixture
    def statements(self) -> list[str]:
        return {
            "postgresql": ["BEGIN", "SET default_transaction_read_only = on"],
            "mysql": ["START TRANSACTION", "SET SESSION TRANSACTION READ ONLY"],
            "sqlite": ["BEGIN", "PRAGMA query_only = on"],
        }[connection.vendor]

    def test_what_statements_leave_there_is_gone(
        self, driver: Driver, statements: list[str]
    ) -> None:
        for statement in statements:
            result = hostile.runs.enqueue(statement)

            neighbours = driver.run_beside_neighbours(result)

            assert neighbours == [Status.SUCCEEDED] * 2
            assert driver.row(result).return_value == "done"

    @pytest.mark.parametrize(
        "task",
        [
            hostile.closes_the_driver,
            hostile.leaves_a_wrapper,
            hostile.leaves_a_wrapper_and_connects_again,
            hostile.clears_the_wrappers,
        ],
    )
    def test_a_broken_connection_is_replaced(self, driver: Driver, task: Any) -> None:
        result = task.enqueue()

        neighbours = driver.run_beside_neighbours(result)

        assert neighbours == [Status.SUCCEEDED] * 2
        assert driver.row(result).return_value == "done"

    def test_a_wrapper_ends_with_the_block_that_opened_its_connection(self, driver: Driver) -> None:
        result = session_tasks.wraps_a_new_connection.enqueue()

        driver.run_due()

        assert driver.row(result).return_value == ["SELECT 1"]

    def test_an_error_in_a_raw_transaction_is_the_one_recorded(self, driver: Driver) -> None:
        result = hostile.fails_in_a_raw_transaction.enqueue()

        driver.drain()

        messages = [one.exception_message for one in driver.attempts(result)]
        assert len(messages) == 2
        assert all("nowhere" in message for message in messages)

    def test_a_task_that_behaves_keeps_its_connection(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)
        driver.run_due()
        before = connection.connection
        result = hostile.behaves.enqueue()

        driver.run_due()

        assert driver.row(result).return_value == "done"
        assert before is not None
        assert connection.connection is before

    def test_a_callers_connection_is_left_alone(self) -> None:
        sessions.watch()
        connection.ensure_connection()
        before = connection.connection
        statement = "CREATE TEMPORARY TABLE mine (id integer)"

        with override_settings(TASKS=IMMEDIATE):
            result = hostile.runs.enqueue(statement)

        assert result.return_value == "done"
        assert connection.connection is before
        hostile.run("SELECT id FROM mine", "DROP TABLE mine")


class TestSurroundings:
    def test_each_attempt_begins_as_the_worker_did(self, driver: Driver) -> None:
        before = hostile.sees.enqueue()
        driver.run_due()
        hostile.leaks.enqueue()
        after = hostile.sees.enqueue()

        driver.drain()

        assert driver.row(after).return_value == driver.row(before).return_value
        assert driver.row(after).return_value[2:] == ["clean", 28]

    def test_what_a_receiver_leaves_is_gone_as_well(self, driver: Driver) -> None:
        before = hostile.sees.enqueue()
        driver.run_due()

        def receive(**details: Any) -> None:
            hostile.leaks.func()

        attempt_failed.connect(receive)
        try:
            tasks.fails_once_for_all.enqueue()
            driver.run_due()
        finally:
            attempt_failed.disconnect(receive)
        after = hostile.sees.enqueue()
        driver.drain()

        assert driver.row(after).return_value == driver.row(before).return_value

    def test_a_receiver_that_hangs_is_interrupted_and_the_next_attempt_is_told_of(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(telling, "TELLING", 0.3)
        results = tasks.fails_once_for_all.enqueue_many([(), ()])
        began = time.monotonic()
        attempt_failed.connect(hostile.hangs_at_first)
        try:
            with received(task_finished) as finished:
                driver.run_due()
        finally:
            attempt_failed.disconnect(hostile.hangs_at_first)

        assert time.monotonic() - began < 30
        assert [driver.row(result).status for result in results] == [Status.FAILED] * 2
        assert len(finished) == 1
        assert "sending the signals of its attempt failed" in caplog.text

    def test_a_seeded_generator_does_not_choose_the_jitter(self, driver: Driver) -> None:
        results = hostile.seeds.enqueue_many([()] * 4)

        driver.run_due()

        waits = {driver.attempts(result)[0].decision for result in results}
        assert len(waits) == 4

    def test_the_rest_of_a_batch_is_not_started_after_its_lease(self, driver: Driver) -> None:
        results = tasks.echoes.enqueue_many([(1,), (2,)])
        claim = replace(driver.claim(), ends_at=time.monotonic() - 0.001)

        batch.Batch(claim).run()

        assert [driver.attempts(result) for result in results] == [[], []]
        assert {driver.row(result).status for result in results} == {Status.RUNNING}
