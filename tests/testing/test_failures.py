"""A task's function is made to fail, so that its retries can be tested."""

from __future__ import annotations

from typing import Any

import pytest

from django_retrytasks.models import Status
from django_retrytasks.testing import assert_attempts, drain, failing, step
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("task", [tasks.echoes, tasks.waits_and_returns, plain.sends_receipt])
def test_the_first_calls_fail_and_the_next_one_runs(task: Any, driver: Driver) -> None:
    result = task.enqueue(42)

    with failing(task, times=2, exc=TimeoutError("too slow")):
        drain(until=result)

    attempts = assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"])
    assert attempts[0].exception_class_path == "builtins.TimeoutError"
    assert attempts[0].exception_message == "too slow"
    assert driver.row(result).status == Status.SUCCEEDED


def test_all_calls_fail_with_none(driver: Driver) -> None:
    result = tasks.echoes.enqueue(1)

    with failing(tasks.echoes, times=None, exc=OSError):
        drain(until=result)

    assert_attempts(result, ["FAILED"] * 4)
    assert driver.row(result).stop_reason == "MAX_RETRIES"


def test_one_call_fails_by_default() -> None:
    result = tasks.echoes.enqueue(1)

    with failing(tasks.echoes):
        drain(until=result)

    attempts = assert_attempts(result, ["FAILED", "SUCCEEDED"])
    assert attempts[0].exception_class_path == "builtins.ConnectionError"


def test_tasks_enqueued_meanwhile_and_with_options_fail_too() -> None:
    prepared = tasks.echoes.using(priority=3)

    with failing(tasks.echoes, times=3):
        later = tasks.echoes.using(priority=1)
        results = [tasks.echoes.enqueue(1), prepared.enqueue(2), later.enqueue(3)]
        drain()

    for result in results:
        assert_attempts(result, ["FAILED"])


def test_direct_calls_fail_too_and_the_end_of_the_block_undoes_it() -> None:
    with failing(tasks.echoes, times=None), pytest.raises(ConnectionError):
        tasks.echoes(1)

    assert tasks.echoes(1) == 1


def test_an_error_in_the_block_undoes_it() -> None:
    with pytest.raises(KeyError), failing(tasks.echoes, times=None):
        raise KeyError

    assert tasks.echoes(1) == 1


def test_an_exception_that_is_not_retried_is_final(driver: Driver) -> None:
    result = tasks.raises.enqueue("OSError")

    with failing(tasks.raises, exc=FileNotFoundError("no such file")):
        step()

    assert driver.row(result).stop_reason == "NOT_RETRYABLE"


@pytest.mark.parametrize("times", [0, 1, None])
def test_a_class_that_needs_more_than_a_message_is_refused(times: int | None) -> None:
    message = "exc: UnicodeDecodeError cannot be made from a message alone, so give an instance: "

    with pytest.raises(TypeError, match=message), failing(tasks.echoes, times, UnicodeDecodeError):
        pass

    assert tasks.echoes(1) == 1


def test_an_instance_of_such_a_class_is_raised() -> None:
    result = tasks.echoes.enqueue(1)

    with failing(tasks.echoes, exc=UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no such byte")):
        step()

    [attempt] = assert_attempts(result, ["FAILED"])
    assert attempt.exception_class_path == "builtins.UnicodeDecodeError"


def test_the_signature_and_the_policy_are_kept() -> None:
    with failing(tasks.echoes):
        assert tasks.echoes.policy.countdown == 5
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            tasks.echoes.enqueue(1, wrong=2)  # type: ignore[call-arg]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="takes a decorated function"), failing(tasks.note):  # type: ignore[arg-type]
        pass
    with pytest.raises(TypeError, match="exc must be"), failing(tasks.echoes, exc=int):  # type: ignore[arg-type]
        pass
    with pytest.raises(ValueError, match="times must be"), failing(tasks.echoes, times=-1):
        pass
