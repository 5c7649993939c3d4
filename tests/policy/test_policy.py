"""What follows a failure: tables by hand, and properties that hold for every policy."""

import copy
import math
import pickle
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import RetryCallState, wait_exponential

from django_retrytasks import Discard, Retry, RetryPolicy, Snooze
from django_retrytasks.exceptions import (
    AttemptTimedOut,
    NotATask,
    NotImportable,
    ResultNotStorable,
    WorkerLost,
)
from django_retrytasks.policy import (
    Decision,
    Failure,
    FailureKind,
    StopReason,
    policy_options,
    retry_after_seconds,
)

NOW = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)
YEAR = 31_622_400  # 366 days


def never_early() -> float:
    """Stand for the random number that makes jitter wait longest, but for an instant."""
    return math.nextafter(1.0, 0.0)


def half() -> float:
    return 0.5


def raised(
    exception: BaseException | None = None,
    *,
    kind: FailureKind = FailureKind.RAISED,
    retry_count: int = 0,
    **details: Any,
) -> Failure:
    return Failure(
        exception=exception or ConnectionError("refused"),
        kind=kind,
        retry_count=retry_count,
        **details,
    )


def decide(policy: RetryPolicy, failure: Failure) -> Decision:
    return policy.decide(failure, now=NOW, random=half)


def stop(stop_reason: StopReason, reason: str) -> Decision:
    return Decision(countdown=None, stop_reason=stop_reason, reason=reason)


def retry(countdown: float, reason: str) -> Decision:
    return Decision(countdown=countdown, stop_reason=None, reason=reason)


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


class RateLimited(Exception):
    def __init__(self, retry_after: object) -> None:
        self.retry_after = retry_after


class Hostile(Exception):
    @property
    def retry_after(self) -> float:
        raise RuntimeError("not now")


class TestStory:
    def test_three_retries_five_seconds_apart_and_then_the_end(self) -> None:
        policy = RetryPolicy(max_retries=3, countdown=5, backoff=1, jitter=False)

        decisions = [decide(policy, raised(retry_count=spent)) for spent in range(4)]

        assert decisions == [
            retry(5, "retry 1 of 3 in 5 s"),
            retry(5, "retry 2 of 3 in 5 s"),
            retry(5, "retry 3 of 3 in 5 s"),
            stop(StopReason.MAX_RETRIES, "max_retries reached (3 retries)"),
        ]

    def test_a_decision_tells_whether_it_retries(self) -> None:
        assert retry(0, "retry 1 of 3 in 0 s").retries
        assert not stop(StopReason.MAX_RETRIES, "max_retries reached (3 retries)").retries


class TestLimit:
    def test_no_retries_at_all(self) -> None:
        decision = decide(RetryPolicy(max_retries=0), raised())

        assert decision == stop(StopReason.MAX_RETRIES, "max_retries reached (0 retries)")

    def test_one_retry_is_singular(self) -> None:
        decision = decide(RetryPolicy(max_retries=1), raised(retry_count=1))

        assert decision == stop(StopReason.MAX_RETRIES, "max_retries reached (1 retry)")

    def test_none_retries_for_ever(self) -> None:
        policy = RetryPolicy(max_retries=None, jitter=False)

        decision = decide(policy, raised(retry_count=9_999))

        assert decision == retry(600, "retry 10000 (no limit) in 600 s")

    @pytest.mark.parametrize(
        ("kind", "stop_reason"),
        [
            (FailureKind.RAISED, StopReason.MAX_RETRIES),
            (FailureKind.TIMED_OUT, StopReason.MAX_RETRIES),
            (FailureKind.LOST, StopReason.CRASHED),
            (FailureKind.NOT_IMPORTABLE, StopReason.NOT_IMPORTABLE),
        ],
    )
    def test_the_last_failure_names_the_stop(
        self, kind: FailureKind, stop_reason: StopReason
    ) -> None:
        decision = decide(RetryPolicy(), raised(kind=kind, retry_count=3))

        assert decision == stop(stop_reason, "max_retries reached (3 retries)")


class TestWhichFailuresAreRetried:
    @pytest.mark.parametrize(
        ("exception", "reason"),
        [
            (TimeoutError(), None),
            (ConnectionError(), None),
            (ConnectionRefusedError(), "ConnectionRefusedError is in no_retry_on"),
            (KeyError("order"), "KeyError is not in retry_on"),
            (SystemExit(1), "SystemExit is not in retry_on"),
        ],
    )
    def test_a_raised_exception_by_its_class(
        self, exception: BaseException, reason: str | None
    ) -> None:
        policy = RetryPolicy(retry_on=OSError, no_retry_on=[ConnectionRefusedError], jitter=False)

        decision = decide(policy, raised(exception))

        if reason is None:
            assert decision == retry(5, "retry 1 of 3 in 5 s")
        else:
            assert decision == stop(StopReason.NOT_RETRYABLE, reason)

    @pytest.mark.parametrize(
        ("kind", "exception"),
        [
            (FailureKind.TIMED_OUT, AttemptTimedOut(30)),
            (FailureKind.LOST, WorkerLost("host:1")),
            (FailureKind.NOT_IMPORTABLE, NotImportable("app.tasks.gone")),
        ],
    )
    def test_what_the_function_did_not_raise_passes_over_retry_on(
        self, kind: FailureKind, exception: BaseException
    ) -> None:
        policy = RetryPolicy(retry_on=KeyError, no_retry_on=Exception, jitter=False)

        decision = decide(policy, raised(exception, kind=kind, crash_count=1))

        assert decision == retry(5, "retry 1 of 3 in 5 s")

    def test_a_timeout_can_be_excluded_by_name(self) -> None:
        policy = RetryPolicy(no_retry_on=AttemptTimedOut)

        decision = decide(policy, raised(AttemptTimedOut(30), kind=FailureKind.TIMED_OUT))

        assert decision == stop(StopReason.NOT_RETRYABLE, "AttemptTimedOut is in no_retry_on")

    def test_a_lost_worker_cannot_be_excluded(self) -> None:
        policy = RetryPolicy(no_retry_on=WorkerLost, jitter=False)

        decision = decide(policy, raised(WorkerLost("host:1"), kind=FailureKind.LOST))

        assert decision == retry(5, "retry 1 of 3 in 5 s")

    def test_a_result_that_cannot_be_stored_is_never_retried(self) -> None:
        failure = raised(
            ResultNotStorable("app.tasks.send", "set at value; pass a list"),
            kind=FailureKind.NOT_STORABLE,
        )

        decision = decide(RetryPolicy(max_retries=None), failure)

        assert decision == stop(StopReason.NOT_STORABLE, "the return value cannot be stored")


class TestCrashes:
    @pytest.mark.parametrize(("crash_count", "goes_on"), [(1, True), (2, True), (3, False)])
    def test_the_last_of_max_crashes_is_the_end(self, crash_count: int, goes_on: bool) -> None:
        failure = raised(WorkerLost("host:1"), kind=FailureKind.LOST, crash_count=crash_count)

        decision = decide(RetryPolicy(max_retries=None, max_crashes=3), failure)

        assert decision.retries is goes_on

    def test_the_end_by_crashes_says_so(self) -> None:
        failure = raised(WorkerLost("host:1"), kind=FailureKind.LOST, crash_count=2)

        decision = decide(RetryPolicy(max_crashes=2), failure)

        assert decision == stop(StopReason.CRASHED, "max_crashes reached (crash 2 of 2)")

    def test_earlier_crashes_do_not_count_against_an_exception(self) -> None:
        decision = decide(RetryPolicy(max_crashes=2), raised(crash_count=5))

        assert decision.retries


class TestExplicitRetry:
    def test_its_countdown_is_exact(self) -> None:
        policy = RetryPolicy(countdown=60, jitter=True, max_countdown=90)
        asked = Retry(RateLimited(3_600), countdown=timedelta(seconds=100.25))

        decision = decide(policy, raised(asked.cause, retry=asked))

        assert decision == retry(100.25, "retry 1 of 3 in 100.25 s")

    @pytest.mark.parametrize(
        ("eta", "countdown"),
        [
            (NOW + timedelta(minutes=2), 120),
            (NOW - timedelta(minutes=2), 0),
            (datetime.max.replace(tzinfo=UTC), 100 * YEAR),
        ],
    )
    def test_its_eta_counts_from_now_within_a_century(
        self, eta: datetime, countdown: float
    ) -> None:
        decision = decide(RetryPolicy(), raised(RateLimited(3_600), retry=Retry(eta=eta)))

        assert decision.countdown == countdown

    def test_without_countdown_the_policy_waits(self) -> None:
        decision = decide(RetryPolicy(jitter=False), raised(retry_count=2, retry=Retry()))

        assert decision == retry(20, "retry 3 of 3 in 20 s")

    def test_it_passes_over_the_classes_but_not_over_the_limit(self) -> None:
        policy = RetryPolicy(retry_on=OSError, no_retry_on=KeyError, jitter=False)

        first = decide(policy, raised(KeyError(), retry=Retry(countdown=5)))
        last = decide(policy, raised(KeyError(), retry=Retry(countdown=5), retry_count=3))

        assert first == retry(5, "retry 1 of 3 in 5 s")
        assert last == stop(StopReason.MAX_RETRIES, "max_retries reached (3 retries)")

    @pytest.mark.parametrize(
        ("max_retries", "reason"),
        [
            (5, "retry 4 of 5 in 1 s"),
            (None, "retry 4 (no limit) in 1 s"),
            (1, "max_retries reached (3 retries)"),
        ],
    )
    def test_its_limit_counts_for_this_decision(self, max_retries: int | None, reason: str) -> None:
        asked = Retry(countdown=1, max_retries=max_retries)

        decision = decide(RetryPolicy(max_retries=3), raised(retry_count=3, retry=asked))

        assert decision.reason == reason

    def test_it_must_fit_retry_for(self) -> None:
        policy = RetryPolicy(retry_for=3_600)

        decision = decide(policy, raised(retry=Retry(countdown=3_601)))

        assert decision == stop(StopReason.RETRY_FOR, "retry_for: 3600 s would be exceeded")


class TestRetryFor:
    @pytest.mark.parametrize(("elapsed", "goes_on"), [(0, True), (55, True), (55.001, False)])
    def test_the_next_retry_must_begin_within_it(self, elapsed: float, goes_on: bool) -> None:
        policy = RetryPolicy(countdown=5, jitter=False, retry_for=60)

        decision = decide(policy, raised(elapsed=elapsed))

        assert decision.retries is goes_on

    def test_a_retry_after_beyond_it_is_the_end(self) -> None:
        decision = decide(RetryPolicy(retry_for=60), raised(RateLimited(61)))

        assert decision == stop(StopReason.RETRY_FOR, "retry_for: 60 s would be exceeded")


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


class TestDrivenToTheEnd:
    @settings(deadline=None)  # a busy machine is no failure
    @given(
        max_retries=st.integers(0, 40),
        max_crashes=st.integers(1, 40),
        kinds=st.lists(st.sampled_from(list(FailureKind)), min_size=41, max_size=41),
        retry_for=st.none() | st.floats(1, 10_000),
        run_time=st.floats(0, 100),
        random=st.floats(0, 1, exclude_max=True),
    )
    def test_never_more_than_max_retries_within_retry_for(
        self,
        max_retries: int,
        max_crashes: int,
        kinds: list[FailureKind],
        retry_for: float | None,
        run_time: float,
        random: float,
    ) -> None:
        policy = RetryPolicy(max_retries=max_retries, max_crashes=max_crashes, retry_for=retry_for)
        elapsed, last_start, retry_count, crash_count = 0.0, 0.0, 0, 0

        for kind in kinds:
            elapsed += run_time
            crash_count += kind is FailureKind.LOST
            failure = raised(
                kind=kind, retry_count=retry_count, crash_count=crash_count, elapsed=elapsed
            )
            decision = policy.decide(failure, now=NOW, random=lambda: random)
            if decision.countdown is None:
                break
            assert 2.5 <= decision.countdown <= 600
            retry_count += 1
            elapsed += decision.countdown
            last_start = elapsed

        assert not decision.retries
        assert retry_count <= max_retries
        assert crash_count <= max_crashes
        assert last_start <= (retry_for or math.inf)


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
                "app.tasks.gone cannot be imported: is its module deployed where the cluster runs?",
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
