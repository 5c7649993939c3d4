"""The exceptions that steer a Task, as they are raised."""

import math
import pickle
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from django_retrytasks import Discard, Retry, Snooze
from django_retrytasks.exceptions import (
    AttemptTimedOut,
    NotATask,
    NotImportable,
    ResultNotStorable,
    WorkerLost,
)
from tests.policy.failures import NOW


class TestRetryAsRaised:
    def test_both_countdown_and_eta_is_one_too_many(self) -> None:
        with pytest.raises(TypeError, match=r"^give countdown or eta, not both$"):
            Retry(countdown=5, eta=NOW)

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            (
                {"exc": ValueError},
                TypeError,
                "exc must be an exception instance, not <class 'ValueError'>",
            ),
            (
                {"countdown": -1},
                ValueError,
                "countdown must be at least 0 and at most 31622400 seconds, not -1",
            ),
            ({"eta": 60}, TypeError, "eta must be an aware datetime, not 60"),
            (
                {"eta": datetime(2030, 1, 1)},
                ValueError,
                "eta must be aware: use django.utils.timezone.make_aware",
            ),
            (
                {"max_retries": -1},
                ValueError,
                "max_retries must be from 0 to 2147483647, not -1",
            ),
        ],
    )
    def test_a_wrong_argument_is_refused_by_name(
        self, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error) as refused:
            Retry(**options)

        assert str(refused.value) == message

    def test_its_cause_is_the_given_exception_first(self) -> None:
        given_one, cause = KeyError("given"), KeyError("cause")

        def from_cause() -> None:
            raise Retry(given_one) from cause

        assert caught(from_cause).cause is given_one

    def test_else_the_cause_else_the_context_else_itself(self) -> None:
        cause, context = KeyError("cause"), KeyError("context")

        def from_cause() -> None:
            raise Retry from cause

        def in_context() -> None:
            try:
                raise context
            except KeyError:
                raise Retry  # noqa: B904

        alone = Retry()
        assert caught(from_cause).cause is cause
        assert caught(in_context).cause is context
        assert alone.cause is alone

    def test_an_empty_exception_is_a_cause_all_the_same(self) -> None:
        class Empty(Exception):
            def __len__(self) -> int:
                return 0

        empty = Empty()

        assert Retry(empty).cause is empty


def caught(function: Callable[[], None]) -> Retry:
    with pytest.raises(Retry) as raised:
        function()
    return raised.value


class TestOtherExceptions:
    @pytest.mark.parametrize(
        ("countdown", "seconds"), [(60, 60), (0, 0), (timedelta(minutes=1.5), 90)]
    )
    def test_snooze_keeps_seconds(self, countdown: Any, seconds: float) -> None:
        assert Snooze(countdown).countdown == seconds

    @pytest.mark.parametrize("countdown", [-1, math.nan, math.inf, timedelta(days=367)])
    def test_snooze_refuses_what_is_out_of_range(self, countdown: Any) -> None:
        with pytest.raises(ValueError, match=r"^countdown must be at least 0 and at most 31622400"):
            Snooze(countdown)

    def test_a_timeout_is_no_exception_that_a_function_would_swallow(self) -> None:
        assert not issubclass(AttemptTimedOut, Exception)

    @pytest.mark.parametrize(
        ("exception", "message"),
        [
            (Discard("no such order"), "no such order"),
            (AttemptTimedOut(2.5), "the attempt ran longer than its timeout of 2.5 s"),
            (WorkerLost("host:7"), "worker host:7 was lost before the attempt ended"),
            (
                WorkerLost("host:7", NOW),
                "worker host:7, which claimed it at 2030-05-17T12:00:00+00:00, "
                "was lost before the attempt ended",
            ),
            (
                NotImportable("app.tasks.gone"),
                "app.tasks.gone cannot be imported here: is the path right, and is its module "
                "deployed?",
            ),
            (
                NotATask("app.tasks.plain", "a string"),
                "app.tasks.plain is no task but a str: decorate it with @retry_task",
            ),
            (
                ResultNotStorable("app.tasks.send", "set at value; pass a list"),
                "app.tasks.send: the return value cannot be stored: set at value; pass a list",
            ),
        ],
    )
    def test_messages_outlive_pickle(self, exception: BaseException, message: str) -> None:
        restored = pickle.loads(pickle.dumps(exception))

        assert str(exception) == message
        assert type(restored) is type(exception)
        assert str(restored) == message
        assert restored.__dict__ == exception.__dict__
