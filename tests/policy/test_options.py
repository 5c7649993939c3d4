"""The options of a policy, and their names."""

import copy
import math
import pickle
from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks import RetryPolicy
from django_retrytasks.policy import policy_options

OPTIONS = (
    "max_retries, max_attempts, countdown, backoff, max_countdown, jitter, retry_on, no_retry_on, "
    "retry_for, max_crashes, timeout"
)


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"max_retries": True}, TypeError, "max_retries must be an int, not True"),
            ({"max_retries": 1.0}, TypeError, "max_retries must be an int, not 1.0"),
            (
                {"max_retries": -1},
                ValueError,
                "max_retries must be from 0 to 2147483647, not -1",
            ),
            (
                {"max_retries": 2**31},
                ValueError,
                "max_retries must be from 0 to 2147483647, not 2147483648",
            ),
            (
                {"max_attempts": 0},
                ValueError,
                "max_attempts must be from 1 to 2147483647, not 0",
            ),
            (
                {"countdown": "5"},
                TypeError,
                "countdown must be seconds (int, float) or a timedelta, not '5'",
            ),
            (
                {"countdown": False},
                TypeError,
                "countdown must be seconds (int, float) or a timedelta, not False",
            ),
            (
                {"countdown": -1},
                ValueError,
                "countdown must be at least 0 and at most 31622400 seconds, not -1",
            ),
            (
                {"countdown": math.nan},
                ValueError,
                "countdown must be at least 0 and at most 31622400 seconds, not nan",
            ),
            ({"backoff": "2"}, TypeError, "backoff must be a number or a callable, not '2'"),
            ({"backoff": True}, TypeError, "backoff must be a number or a callable, not True"),
            ({"backoff": 0.5}, ValueError, "backoff must be at least 1 and finite, not 0.5"),
            ({"backoff": math.inf}, ValueError, "backoff must be at least 1 and finite, not inf"),
            (
                {"max_countdown": 0},
                ValueError,
                "max_countdown must be above 0 and at most 31622400 seconds, not 0",
            ),
            (
                {"max_countdown": timedelta(days=367)},
                ValueError,
                "max_countdown must be above 0 and at most 31622400 seconds, "
                "not datetime.timedelta(days=367)",
            ),
            ({"jitter": 1}, TypeError, "jitter must be True or False, not 1"),
            (
                {"retry_on": "OSError"},
                TypeError,
                "retry_on must hold exception classes, not the name of one: 'OSError'",
            ),
            (
                {"no_retry_on": [OSError, int]},
                TypeError,
                "no_retry_on must hold exception classes only, not <class 'int'>",
            ),
            (
                {"retry_on": OSError()},
                TypeError,
                "retry_on must hold exception classes only, not OSError()",
            ),
            (
                {"retry_for": 0},
                ValueError,
                "retry_for must be above 0 and finite seconds, not 0",
            ),
            (
                {"retry_for": math.inf},
                ValueError,
                "retry_for must be above 0 and finite seconds, not inf",
            ),
            (
                {"max_crashes": 0},
                ValueError,
                "max_crashes must be from 1 to 2147483647, not 0",
            ),
            ({"max_crashes": None}, TypeError, "max_crashes must be an int, not None"),
            (
                {"timeout": 0},
                ValueError,
                "timeout must be above 0 and at most 31622400 seconds, not 0",
            ),
            (
                {"max_retrys": 3},
                TypeError,
                f"unknown option 'max_retrys'. Did you mean \"max_retries\"? Options: {OPTIONS}",
            ),
        ],
    )
    def test_a_wrong_one_is_refused_by_name(
        self, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error) as refused:
            RetryPolicy(**options)

        assert str(refused.value) == f"RetryPolicy: {message}"

    def test_a_countdown_above_the_longest_is_refused(self) -> None:
        with pytest.raises(ValueError, match=r"^countdown \(660\) is above max_countdown \(600\)"):
            RetryPolicy(countdown=timedelta(minutes=11))

    def test_durations_are_kept_as_seconds(self) -> None:
        policy = RetryPolicy(
            countdown=timedelta(seconds=1.5),
            max_countdown=timedelta(hours=1),
            retry_for=timedelta(days=800),
            timeout=timedelta(milliseconds=250),
        )

        assert (policy.countdown, policy.max_countdown) == (1.5, 3_600)
        assert (policy.retry_for, policy.timeout) == (69_120_000, 0.25)

    @pytest.mark.parametrize("classes", [OSError, [OSError], (OSError,), {OSError}])
    def test_one_class_or_several(self, classes: Any) -> None:
        assert RetryPolicy(retry_on=classes).retry_on == (OSError,)

    @pytest.mark.parametrize(("max_attempts", "max_retries"), [(1, 0), (4, 3), (None, None)])
    def test_max_attempts_counts_the_first_attempt(
        self, max_attempts: int | None, max_retries: int | None
    ) -> None:
        assert RetryPolicy(max_attempts=max_attempts).max_retries == max_retries

    def test_equal_options_make_equal_policies(self) -> None:
        assert RetryPolicy(countdown=5, retry_on=Exception) == RetryPolicy()
        assert len({RetryPolicy(), RetryPolicy(max_attempts=4), RetryPolicy(timeout=1)}) == 2

    def test_a_policy_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            RetryPolicy().max_retries = 4  # type: ignore[misc]

    def test_replace_changes_and_checks(self) -> None:
        policy = RetryPolicy(countdown=60)

        changed = policy.replace(max_attempts=1, max_countdown=timedelta(minutes=1))

        assert changed == RetryPolicy(countdown=60, max_retries=0, max_countdown=60)
        with pytest.raises(ValueError, match="raise max_countdown"):
            policy.replace(max_countdown=59)

    def test_a_policy_survives_pickle_and_copy(self) -> None:
        policy = RetryPolicy(max_retries=None, retry_on=OSError, timeout=2)

        assert pickle.loads(pickle.dumps(policy)) == copy.deepcopy(policy) == policy


class TestOptionNames:
    def test_come_back_with_values_as_a_policy_keeps_them(self) -> None:
        options = {"max_attempts": 4, "countdown": timedelta(minutes=1), "retry_on": OSError}

        named = policy_options(options, owner="send_email")

        assert named == {"max_retries": 3, "countdown": 60.0, "retry_on": (OSError,)}
        assert "max_attempts" in options

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (
                {"max_retrys": 3},
                "send_email: unknown option 'max_retrys'. Did you mean \"max_retries\"? "
                f"Options: {OPTIONS}",
            ),
            ({"zzz": 3}, f"send_email: unknown option 'zzz'. Options: {OPTIONS}"),
            (
                {"autoretry_for": OSError},
                "send_email: unknown option 'autoretry_for'. It is Celery's: use 'retry_on'. "
                f"Options: {OPTIONS}",
            ),
            (
                {"max_retries": 3, "max_attempts": 4},
                "send_email: give max_retries or max_attempts, not both",
            ),
            ({"max_attempts": "4"}, "send_email: max_attempts must be an int, not '4'"),
            ({"max_retries": "4"}, "send_email: max_retries must be an int, not '4'"),
        ],
    )
    def test_a_wrong_one_is_refused_with_its_owner(
        self, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(TypeError) as refused:
            policy_options(options, owner="send_email")

        assert str(refused.value) == message
