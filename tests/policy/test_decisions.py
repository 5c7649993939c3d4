"""What follows a failure: a retry or the end, by tables and by properties of every policy."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_retrytasks import Retry, RetryPolicy
from django_retrytasks.exceptions import (
    AttemptTimedOut,
    NotImportable,
    ResultNotStorable,
    WorkerLost,
)
from django_retrytasks.policy import FailureKind, StopReason
from tests.policy.failures import NOW, YEAR, RateLimited, decide, raised, retry, stop


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
