"""What the site puts round each call: the order, the errors, and ``async def`` functions."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.worker.pace import pace
from tests.support import around, tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Attempt.Outcome
KINDS = pytest.mark.parametrize(
    "task", [around.runs, around.runs_async, around.runs_together], ids=lambda task: task.name
)
RAISING = pytest.mark.parametrize(
    "task",
    [around.raises, around.raises_async, around.raises_together],
    ids=lambda task: task.name,
)


@pytest.fixture(autouse=True)
def nothing_has_happened() -> None:
    around.happened.clear()
    around.seen.clear()


def surrounding(*names: str) -> Any:
    return override_settings(RETRYTASKS={"AROUND": [f"{around.HERE}.{name}" for name in names]})


def last(driver: Driver, result: Any) -> Attempt:
    return driver.attempts(result)[-1]


def claim_many_at_once() -> None:
    for _ in range(60):
        pace.note(0.0001)


def enqueue_two_at_once(task: Any, value: Any) -> list[Any]:
    claim_many_at_once()
    results: list[Any] = task.enqueue_many([(value,), (value,)])
    return results


class TestOrder:
    @pytest.mark.parametrize("task", [around.runs, around.runs_async], ids=lambda task: task.name)
    def test_the_first_is_entered_first_and_left_last(self, driver: Driver, task: Any) -> None:
        result = task.enqueue()

        with surrounding("outer", "inner"):
            driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED
        assert around.happened == ["outer in", "inner in", "function", "inner out", "outer out"]

    def test_plain_and_async_ones_mix_round_an_async_function(self, driver: Driver) -> None:
        around.runs_async.enqueue()

        with surrounding("outer", "awaited", "inner"):
            driver.run_due()

        entered = ["outer in", "awaited in", "inner in"]
        left = ["inner out", "awaited out", "outer out"]
        assert around.happened == [*entered, "function", *left]

    @RAISING
    def test_they_are_left_when_the_function_raises(self, driver: Driver, task: Any) -> None:
        result = task.enqueue("error")

        with surrounding("outer"):
            driver.run_due()

        assert around.happened == ["outer in", "outer out"]
        assert last(driver, result).exception_message == "not today"

    def test_each_attempt_has_its_own(self, driver: Driver) -> None:
        result = tasks.fails_twice.using(max_retries=2).enqueue()

        with surrounding("outer"):
            driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED
        assert around.happened == ["outer in", "outer out"] * 3

    def test_traceback_begins_in_the_function(self, driver: Driver) -> None:
        result = around.raises.enqueue("error")

        with surrounding("outer", "Swallows"):
            driver.run_due()

        files = re.findall(r'File "([^"]+)"', last(driver, result).traceback)
        assert files
        assert [file for file in files if "django_retrytasks/worker" in file] == []


class TestContext:
    @KINDS
    def test_variables_database_and_language_are_the_calls_own(
        self, driver: Driver, task: Any
    ) -> None:
        claim_many_at_once()
        results = task.enqueue_many([("ann",), ("bo",), ("cy",)])

        with surrounding("as_tenant", "in_german"):
            driver.run_due()

        values = [driver.row(result).return_value for result in results]
        assert values == [["ann", "de"], ["bo", "de"], ["cy", "de"]]
        assert around.tenant.get() == "none"
        assert around.happened.count((task.func.__name__, 1, 0)) == 3

    def test_is_the_one_that_the_function_gets(self, driver: Driver) -> None:
        result = around.tells_its_context.enqueue()

        with surrounding("sees"):
            driver.run_due()

        assert driver.row(result).return_value is True

    def test_inline_too(self) -> None:
        immediate = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        with surrounding("as_tenant"), override_settings(TASKS={"default": immediate}):
            result = around.runs.enqueue("ann")

        assert result.return_value == ["ann", "en-us"]
        assert around.tenant.get() == "none"

    def test_internal_tasks_have_none(self, driver: Driver) -> None:
        with surrounding("outer", "refuses"):
            result = tasks.fails_once_for_all.enqueue()
            internal = driver.run_internal()

        assert last(driver, result).exception_message == "no such tenant"
        assert internal
        assert {task.status for task in internal} == {Status.SUCCEEDED}
        assert around.happened == ["outer in", "outer out"]


class TestErrors:
    @KINDS
    @pytest.mark.parametrize("names", [["refuses"], ["Swallows", "refuses"]])
    def test_error_before_the_call_fails_the_attempt(
        self, driver: Driver, task: Any, names: list[str]
    ) -> None:
        result = task.enqueue()

        with surrounding(*names):
            driver.run_due()

        row, attempt = driver.row(result), last(driver, result)
        assert (row.status, attempt.exception_message) == (Status.FAILED, "no such tenant")
        assert "function" not in around.happened

    @KINDS
    def test_error_after_the_call_fails_the_attempt(self, driver: Driver, task: Any) -> None:
        result = task.enqueue()

        with surrounding("Swallows", "fails_at_last"):
            driver.run_due()

        assert driver.row(result).return_value is None
        assert last(driver, result).exception_message == "cannot leave"

    def test_failed_attempt_is_retried_under_the_tasks_policy(self, driver: Driver) -> None:
        result = around.runs.using(max_retries=1, countdown=5).enqueue()

        with surrounding("refuses"):
            row = driver.attempt(result)
        assert row.status == Status.RETRYING
        row = driver.attempt(result)

        assert (row.status, row.retry_count) == (Status.SUCCEEDED, 1)

    @RAISING
    @pytest.mark.parametrize("swallower", ["Swallows", "SwallowsAwaited"])
    @pytest.mark.parametrize(
        ("kind", "outcome"),
        [("error", Outcome.FAILED), ("discard", Outcome.DISCARDED), ("snooze", Outcome.SNOOZED)],
    )
    def test_nothing_can_be_swallowed(
        self, driver: Driver, task: Any, swallower: str, kind: str, outcome: Outcome
    ) -> None:
        result = task.enqueue(kind)

        with surrounding(swallower, "outer", swallower):
            driver.run_due()

        assert last(driver, result).outcome == outcome

    def test_another_exception_takes_the_place_of_the_functions(self, driver: Driver) -> None:
        result = around.raises.enqueue("snooze")

        with surrounding("replaces"):
            driver.run_due()

        attempt = last(driver, result)
        assert (attempt.outcome, attempt.exception_message) == (
            Outcome.FAILED,
            "told in other words",
        )

    def test_it_may_steer_the_task(self, driver: Driver) -> None:
        result = around.runs.enqueue()

        with surrounding("snoozes"):
            driver.run_due()

        assert (last(driver, result).outcome, around.happened) == (Outcome.SNOOZED, [])

    @pytest.mark.parametrize(
        ("task", "name", "message"),
        [
            (around.runs, "awaited", "must return an object with __enter__, not a "),
            (around.runs, "no_manager", "must return an object with __enter__, not a str"),
            (
                around.runs_async,
                "no_manager",
                "must return an object with __aenter__ or __enter__, not a str",
            ),
        ],
    )
    def test_object_that_is_no_fitting_manager_is_named(
        self, driver: Driver, task: Any, name: str, message: str
    ) -> None:
        result = task.enqueue()

        with surrounding(name):
            driver.run_due()

        attempt = last(driver, result)
        told = f'RETRYTASKS["AROUND"]: {around.HERE}.{name} {message}'
        assert attempt.exception_message.startswith(told)
        assert attempt.exception_class_path == "builtins.TypeError"
        assert around.happened == []

    def test_function_that_hides_its_async_def_is_told_how_to_mend_it(self, driver: Driver) -> None:
        alone = around.returns_an_awaitable.enqueue()
        driver.run_due()
        inside = around.returns_an_awaitable.enqueue()

        with surrounding("outer"):
            driver.run_due()

        assert driver.row(alone).status == Status.SUCCEEDED
        assert "markcoroutinefunction" in last(driver, inside).exception_message

    @pytest.mark.parametrize(
        ("task", "name"),
        [
            (around.runs, "hangs"),
            (around.runs_async, "hangs_awaited"),
            (around.runs_together, "hangs_awaited"),
        ],
    )
    def test_they_take_of_the_attempts_time(self, driver: Driver, task: Any, name: str) -> None:
        result = task.using(timeout=0.2).enqueue()

        with surrounding("outer", name):
            driver.run_due()

        assert last(driver, result).outcome == Outcome.TIMED_OUT
        assert around.happened == ["outer in", "outer out"]

    @pytest.mark.parametrize("task", [around.runs_async, around.runs_together], ids=str)
    def test_one_that_the_timeout_meets_in_its_enter_is_left(
        self, driver: Driver, task: Any
    ) -> None:
        results = enqueue_two_at_once(task.using(timeout=0.5), None)

        with surrounding("outer", "EntersSlowly"):
            driver.run_due()

        assert {last(driver, result).outcome for result in results} == {Outcome.TIMED_OUT}
        for word in ("outer", "slow"):
            assert around.happened.count(f"{word} in") == around.happened.count(f"{word} out") == 2
        assert "function" not in around.happened

    def test_one_is_left_though_the_timeout_comes_again_meanwhile(self, driver: Driver) -> None:
        results = enqueue_two_at_once(around.waits_in_a_thread.using(timeout=0.5), 2)

        with surrounding("Plain"):
            driver.run_due()

        assert {last(driver, result).outcome for result in results} == {Outcome.TIMED_OUT}
        assert sorted(around.happened) == ["slow in"] * 2 + ["slow out"] * 2

    def test_path_that_leads_nowhere_fails_the_attempt(self, driver: Driver) -> None:
        result = around.runs.enqueue()

        with surrounding("gone"):
            driver.run_due()

        assert last(driver, result).exception_class_path == "builtins.ImportError"
        assert around.happened == []

    def test_broken_transaction_of_a_caller_is_mended(self) -> None:
        immediate = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        with (
            override_settings(
                RETRYTASKS={"AROUND": [f"{around.HERE}.breaks_the_transaction"]},
                TASKS={"default": immediate},
            ),
            transaction.atomic(),
        ):
            result = around.runs.enqueue()

            assert Task.objects.get(pk=result.id).status == Status.FAILED


def test_costs_no_statement() -> None:
    immediate = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}

    def statements() -> int:
        with (
            override_settings(TASKS={"default": immediate}),
            CaptureQueriesContext(connection) as captured,
        ):
            tasks.succeeds.enqueue()
        return len(captured)

    statements()  # the first run opens connections
    bare = statements()
    with surrounding("outer", "inner"):
        surrounded = statements()

    assert len(around.happened) == 4
    assert surrounded == bare > 0
