"""How long a retry waits: countdowns, callable backoffs and Retry-After."""

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import RetryCallState, wait_exponential

from django_retrytasks import Retry, RetryPolicy
from django_retrytasks.exceptions import AttemptTimedOut
from django_retrytasks.policy import StopReason, retry_after_seconds
from tests.policy.failures import NOW, YEAR, RateLimited, decide, half, raised, retry, stop


def never_early() -> float:
    """Stand for the random number that makes jitter wait longest, but for an instant."""
    return math.nextafter(1.0, 0.0)


class CaseInsensitive(Mapping[str, str]):
    """Headers as requests keeps them: a Mapping that is no dict, with the names as sent."""

    def __init__(self, sent: dict[str, str]) -> None:
        self.sent = sent

    def __getitem__(self, name: str) -> str:
        return {key.lower(): value for key, value in self.sent.items()}[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self.sent)

    def __len__(self) -> int:
        return len(self.sent)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.sent})"


class HTTPError(Exception):
    def __init__(self, headers: object) -> None:
        self.response = SimpleNamespace(status_code=503, headers=headers)


class Hostile(Exception):
    @property
    def retry_after(self) -> float:
        raise RuntimeError("not now")


class TestCountdown:
    def test_default_base_countdowns(self) -> None:
        policy = RetryPolicy()

        bases = [policy.base_countdown(number) for number in range(1, 10)]

        assert bases == [5, 10, 20, 40, 80, 160, 320, 600, 600]

    @pytest.mark.parametrize(("number", "expected"), [(0.0, 10), (0.5, 15), (0.75, 17.5)])
    def test_jitter_waits_half_to_all(self, number: float, expected: float) -> None:
        assert RetryPolicy(countdown=20).countdown_for(1, lambda: number) == expected

    def test_no_jitter_asks_for_no_random_number(self) -> None:
        def refuse() -> float:
            raise AssertionError("asked")

        assert RetryPolicy(jitter=False).countdown_for(2, refuse) == 10

    @pytest.mark.parametrize(
        ("countdown", "backoff", "expected"),
        [(5, 2, 600), (5, 1, 5), (0, 2, 0), (0, 1e308, 0), (1e-300, 1e308, 600)],
    )
    def test_retry_ten_thousand_does_not_overflow(
        self, countdown: float, backoff: float, expected: float
    ) -> None:
        policy = RetryPolicy(countdown=countdown, backoff=backoff)

        assert policy.base_countdown(10_000) == expected

    @settings(deadline=None)  # a busy machine is no failure
    @given(
        countdown=st.floats(0.001, 3_600),
        factor=st.floats(1, 10),
        longest=st.floats(3_600, YEAR),
        number=st.integers(1, 10_000),
    )
    def test_the_curve_is_tenacitys(
        self, countdown: float, factor: float, longest: float, number: int
    ) -> None:
        oracle = wait_exponential(multiplier=countdown, exp_base=factor, max=longest)
        policy = RetryPolicy(countdown=countdown, backoff=factor, max_countdown=longest)

        expected = oracle(cast(RetryCallState, SimpleNamespace(attempt_number=number)))

        assert policy.base_countdown(number) == pytest.approx(expected)

    @settings(deadline=None)  # a busy machine is no failure
    @given(
        countdown=st.floats(0, 600),
        factor=st.floats(1, 1e308),
        number=st.integers(1, 2**40),
        random=st.floats(0, 1, exclude_max=True),
    )
    def test_every_countdown_is_within_its_bounds(
        self, countdown: float, factor: float, number: int, random: float
    ) -> None:
        policy = RetryPolicy(countdown=countdown, backoff=factor)

        waited = policy.countdown_for(number, lambda: random)

        assert countdown / 2 <= waited <= 600

    def test_jitter_never_exceeds_the_countdown(self) -> None:
        assert RetryPolicy(countdown=600).countdown_for(1, never_early) <= 600


class TestCallableBackoff:
    @pytest.mark.parametrize("answer", [1_000, 1_000.0, timedelta(seconds=1_000)])
    def test_its_answer_is_neither_jittered_nor_clamped(self, answer: float | timedelta) -> None:
        policy = RetryPolicy(backoff=lambda exception, result: answer, max_countdown=10)

        assert decide(policy, raised()) == retry(1_000, "retry 1 of 3 in 1000 s")

    def test_it_is_given_the_exception_and_the_result(self) -> None:
        seen: list[object] = []
        policy = RetryPolicy(backoff=lambda *given: seen.extend(given))
        failure = raised()

        policy.decide(failure, now=NOW, random=half, task_result="the result")

        assert seen == [failure.exception, "the result"]

    def test_none_stops(self) -> None:
        decision = decide(RetryPolicy(backoff=lambda exception, result: None), raised())

        assert decision == stop(StopReason.BACKOFF, "backoff returned None")

    def test_it_is_not_asked_once_the_limit_is_reached(self) -> None:
        def refuse(exception: BaseException, result: object) -> float:
            raise AssertionError("asked")

        decision = decide(RetryPolicy(backoff=refuse), raised(retry_count=3))

        assert decision.stop_reason == StopReason.MAX_RETRIES

    def test_when_it_raises_the_countdown_holds(self) -> None:
        def broken(exception: BaseException, result: object) -> float:
            raise KeyError("status")

        decision = decide(RetryPolicy(backoff=broken, jitter=False), raised(retry_count=2))

        assert decision == retry(5, "retry 3 of 3 in 5 s (countdown, as backoff raised KeyError)")

    @pytest.mark.parametrize("escapes", [KeyboardInterrupt, AttemptTimedOut])
    def test_what_is_no_exception_passes_through(self, escapes: type[BaseException]) -> None:
        def interrupted(exception: BaseException, result: object) -> float:
            raise escapes(1)

        with pytest.raises(escapes):
            decide(RetryPolicy(backoff=interrupted), raised())

    @pytest.mark.parametrize(
        ("answer", "complaint"),
        [
            ("soon", "be seconds (int, float) or a timedelta, not 'soon'"),
            (True, "be seconds (int, float) or a timedelta, not True"),
            (-1, "be at least 0 and at most 31622400 seconds, not -1"),
            (math.nan, "be at least 0 and at most 31622400 seconds, not nan"),
            (YEAR + 1, "be at least 0 and at most 31622400 seconds, not 31622401"),
        ],
    )
    def test_when_it_answers_nonsense_the_countdown_holds(
        self, answer: Any, complaint: str
    ) -> None:
        policy = RetryPolicy(backoff=lambda exception, result: answer, jitter=False)

        decision = decide(policy, raised())

        assert decision == retry(
            5, f"retry 1 of 3 in 5 s (countdown, as the answer of backoff must {complaint})"
        )

    def test_an_answer_too_long_to_print_harms_nothing(self) -> None:
        policy = RetryPolicy(backoff=lambda exception, result: 10**5_000, jitter=False)

        assert decide(policy, raised()).countdown == 5


class TestRetryAfter:
    @pytest.mark.parametrize(
        "exception",
        [
            RateLimited(120),
            RateLimited(120.0),
            RateLimited("120"),
            RateLimited(" 120.0 "),
            RateLimited(timedelta(minutes=2)),
            RateLimited("Fri, 17 May 2030 12:02:00 GMT"),
            HTTPError({"Retry-After": "120"}),
            HTTPError({"retry-after": "120"}),
            HTTPError({"RETRY-AFTER": 120}),
            HTTPError({"Date": "x", "Retry-After": "Fri, 17 May 2030 12:02:00 GMT"}),
            HTTPError({"Retry-After": "Friday, 17-May-30 12:02:00 GMT"}),
            HTTPError({"Retry-After": "Fri May 17 12:02:00 2030"}),
            HTTPError(CaseInsensitive({"Retry-After": "120"})),
        ],
        ids=repr,
    )
    def test_two_minutes_in_every_shape(self, exception: Exception) -> None:
        assert retry_after_seconds(exception, NOW) == 120

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            (0, 0),
            (-5, 0),
            (86_400, 86_400),
            (86_401, 86_400),
            ("Fri, 17 May 2030 11:00:00 GMT", 0),
            ("Fri, 17 May 2090 12:00:00 GMT", 86_400),
        ],
    )
    def test_it_is_held_between_nothing_and_a_day(self, value: object, seconds: float) -> None:
        assert retry_after_seconds(RateLimited(value), NOW) == seconds

    @pytest.mark.parametrize(
        "exception",
        [
            ValueError("none at all"),
            RateLimited(None),
            RateLimited(True),
            RateLimited("soon"),
            RateLimited(""),
            RateLimited("nan"),
            RateLimited(math.inf),
            RateLimited(10**400),
            RateLimited([120]),
            RateLimited("Fri, 99 May 2030 12:02:00 GMT"),
            Hostile(),
            HTTPError(None),
            HTTPError("Retry-After: 120"),
            HTTPError({"Content-Type": "text/html"}),
            HTTPError({"Retry-After": "later"}),
            HTTPError({7: "120"}),
        ],
        ids=repr,
    )
    def test_nonsense_counts_as_none(self, exception: Exception) -> None:
        assert retry_after_seconds(exception, NOW) is None

    def test_the_response_is_read_where_the_attribute_is_of_no_use(self) -> None:
        exception = HTTPError({"Retry-After": "7"})
        exception.retry_after = "soon"  # type: ignore[attr-defined]

        assert retry_after_seconds(exception, NOW) == 7

    def test_it_is_a_lower_bound(self) -> None:
        policy = RetryPolicy(countdown=20, jitter=False)

        later = decide(policy, raised(RateLimited(45)))
        sooner = decide(policy, raised(RateLimited(2)))

        assert later == retry(45, "retry 1 of 3 in 45 s (Retry-After)")
        assert sooner == retry(20, "retry 1 of 3 in 20 s")

    def test_it_passes_over_max_countdown(self) -> None:
        decision = decide(RetryPolicy(max_countdown=60), raised(RateLimited(3_600)))

        assert decision.countdown == 3_600

    def test_it_bounds_a_callable_backoff_too(self) -> None:
        policy = RetryPolicy(backoff=lambda exception, result: 1)

        assert decide(policy, raised(RateLimited(30))).countdown == 30

    def test_it_bounds_an_explicit_retry_without_a_countdown(self) -> None:
        decision = decide(RetryPolicy(), raised(RateLimited(30), retry=Retry()))

        assert decision.countdown == 30


class TestSchedule:
    def test_rows_of_the_default_policy(self) -> None:
        assert RetryPolicy().schedule() == [(1, 2.5, 5), (2, 5, 10), (3, 10, 20)]

    def test_without_jitter_least_and_most_are_one(self) -> None:
        assert RetryPolicy(max_retries=1, jitter=False).schedule() == [(1, 5, 5)]

    @pytest.mark.parametrize(("max_retries", "rows"), [(0, 0), (24, 24), (26, 25), (None, 25)])
    def test_at_most_25_rows(self, max_retries: int | None, rows: int) -> None:
        assert len(RetryPolicy(max_retries=max_retries).schedule()) == rows

    def test_none_with_a_callable_backoff(self) -> None:
        assert RetryPolicy(backoff=lambda exception, result: 1).schedule() == []
