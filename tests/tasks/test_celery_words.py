"""Code that was written for Celery: its ways to call a task and to retry it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks import RetryTaskContext, retry_task
from django_retrytasks.models import Status
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
apply_async: Any = tasks.echoes.apply_async


@retry_task(bind=True, max_retries=1, countdown=60, jitter=False)
def retries_as_told(self: RetryTaskContext, told: dict[str, Any], *, note: str = "") -> None:
    """Fail, and ask for a retry with these options."""
    context: Any = self
    try:
        raise ConnectionError("no server")
    except ConnectionError as exc:
        raise context.retry(exc=exc, countdown=5, **told)


@retry_task(bind=True, max_retries=1, countdown=60, jitter=False)
def retries_by_position(self: RetryTaskContext) -> None:
    """Fail, and ask for a retry with the exception where Celery has the arguments."""
    context: Any = self
    try:
        raise ConnectionError("no server")
    except ConnectionError as exc:
        raise context.retry(exc)


@retry_task(bind=True, max_retries=1)
def looks_at_its_retry(self: RetryTaskContext) -> list[Any]:
    """Make a Retry, and go on."""
    try:
        raise ConnectionError("no server")
    except ConnectionError:
        retry = self.retry(countdown=timedelta(seconds=7), throw=False)
    return [type(retry).__name__, str(retry.cause), retry.countdown]


class TestRetry:
    @pytest.mark.parametrize(
        "told",
        [
            {"queue": "default"},
            {"queue": None, "args": None, "kwargs": None},
            {"kwargs": {"note": "x"}},
            {"throw": False},
            {"throw": False, "queue": "default"},
        ],
    )
    def test_options_that_say_what_the_task_has_are_taken(
        self, told: dict[str, Any], driver: Driver
    ) -> None:
        result = retries_as_told.enqueue(told, note="x")

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.decision == "retry 1 of 1 in 5 s"

    def test_own_arguments_are_taken_in_any_form_that_is_stored_so(self, driver: Driver) -> None:
        result = retries_own_arguments.enqueue([1, [2]], when={"at": timedelta(hours=1)})

        driver.run_due()

        assert driver.attempts(result)[0].decision == "retry 1 of 3 in 5 s"

    @pytest.mark.parametrize(
        ("told", "names"),
        [
            ({"args": [2]}, "args"),
            ({"args": [], "kwargs": {}}, "args, kwargs"),
            ({"kwargs": {"note": "y"}}, "kwargs"),
            ({"queue": "slow"}, "queue"),
            ({"queue": "slow", "throw": False}, "queue"),
            ({"link": "tasks.other"}, "link"),
        ],
    )
    def test_others_are_noted_beside_the_recorded_cause(
        self, told: dict[str, Any], names: str, driver: Driver
    ) -> None:
        result = retries_as_told.enqueue(told, note="x")

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert attempt.decision == (
            f"retry 1 of 1 in 5 s; self.retry() cannot change {names}: a retry is the same call "
            "again"
        )
        row = driver.row(result)
        assert (row.status, row.queue_name) == (Status.RETRYING, "default")

    def test_a_misspelled_option_is_noted_with_the_nearest(self, driver: Driver) -> None:
        result = retries_as_told.enqueue({"countdwn": 1}, note="x")

        driver.run_due()

        assert driver.attempts(result)[0].decision.endswith(
            """self.retry() has no option 'countdwn'. Did you mean "countdown"?"""
        )

    def test_exception_given_by_position_is_noted_and_recorded(self, driver: Driver) -> None:
        result = retries_by_position.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert "self.retry() cannot change args" in attempt.decision

    def test_throw_false_returns_the_retry(self, driver: Driver) -> None:
        result = looks_at_its_retry.enqueue()

        driver.run_due()

        assert driver.row(result).return_value == ["Retry", "no server", 7.0]


@retry_task(bind=True, max_retries=3)
def retries_own_arguments(self: RetryTaskContext, numbers: Any, *, when: Any) -> None:
    raise self.retry(
        ((1, (2,)),),
        {"when": {"at": timedelta(minutes=60)}},
        exc=ConnectionError("no server"),
        countdown=5,
    )


class TestApplyAsync:
    def test_none_stands_for_no_arguments(self, driver: Driver) -> None:
        result = apply_async(args=None, kwargs=None)

        assert (driver.row(result).args, driver.row(result).kwargs) == ([], {})

    @pytest.mark.parametrize("args", [[1], (1,)])
    def test_list_is_taken_as_a_tuple_is(self, args: Any, driver: Driver) -> None:
        assert driver.row(apply_async(args)).args == [1]

    @pytest.mark.parametrize(
        ("args", "kind"), [("ab", "str"), ({"x": 1}, "dict"), ({1, 2}, "set"), (5, "int")]
    )
    def test_what_is_no_sequence_of_arguments_is_refused(self, args: Any, kind: str) -> None:
        with pytest.raises(TypeError) as refused:
            apply_async(args)

        assert str(refused.value) == (
            "echoes: args must be a tuple or a list of arguments, such as (value,), not a " + kind
        )

    @pytest.mark.parametrize(("kwargs", "kind"), [([1], "list"), ("ab", "str")])
    def test_what_is_no_mapping_of_keyword_arguments_is_refused(
        self, kwargs: Any, kind: str
    ) -> None:
        with pytest.raises(TypeError, match=f"^echoes: kwargs must be a mapping, not a {kind}$"):
            apply_async((), kwargs)

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            ("link", "It is Celery's: let the function enqueue what follows. "),
            ("queue_name", 'Did you mean "queue"? '),
            ("zzz", ""),
        ],
    )
    def test_another_option_is_refused_by_name(self, option: str, said: str) -> None:
        with pytest.raises(TypeError) as refused:
            apply_async((1,), **{option: 1})

        assert str(refused.value) == (
            f"echoes: unknown option '{option}'. {said}"
            "Options: args, kwargs, countdown, eta, expires, queue, priority"
        )
