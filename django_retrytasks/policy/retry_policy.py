"""Decide what follows a failed attempt: a pure function; time and randomness are arguments."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final, NamedTuple, Unpack

from django_retrytasks.exceptions import Retry
from django_retrytasks.values import checked
from django_retrytasks.values.texts import number_text

from .celery_words import unknown_option
from .decisions import Decision, Failure, FailureKind, Random, StopReason
from .options import Backoff, PolicyOptions, as_backoff, as_exception_classes
from .retry_after import retry_after_seconds
from .steering import why_not_retryable

OPTION_NAMES: Final = tuple(PolicyOptions.__annotations__)
LONGEST_PREVIEW: Final = 25
FARTHEST_ETA: Final = 100 * checked.LONGEST_WAIT  # so that now + countdown stays a datetime


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class RetryPolicy:
    """The rule that decides what follows a failure.

    Retry n (from 1) waits `countdown * backoff ** (n - 1)` seconds, at most `max_countdown`:
    5, 10, 20, 40, 80, 160, 320, 600, 600 … by default. With jitter it waits half to all of that.

    Durations are given as seconds or a timedelta and kept as float seconds.

    Attributes:
        max_retries: the most attempts after the first; 0: none; None: no limit.
            `max_attempts=n` is accepted for `max_retries=n - 1`.
        countdown: seconds before the first retry, 0 to `max_countdown`.
        backoff: the factor by which the countdown grows, at least 1; or a callable
            `(exception, task_result) -> seconds | timedelta | None` that returns each wait, 0 to
            366 days, used exactly (no jitter, no `max_countdown`); None: no retry.
        max_countdown: the longest countdown in seconds, above 0, at most 366 days.
        jitter: whether to wait a random part of the countdown, at least half.
        retry_on: one or several exception classes to retry; in an exception group each leaf counts.
        no_retry_on: classes not to retry even if in `retry_on`; one leaf of a group is enough.
        retry_for: seconds since the first start within which retries begin; None: no limit.
        max_crashes: number of lost workers at which the Task fails, from 1.
        timeout: seconds an attempt may run, above 0, at most 366 days; None: no limit.

    Raises:
        TypeError: an unknown option, or an option of a wrong type.
        ValueError: an option out of its range.
    """

    max_retries: int | None = checked.option(checked.or_none(checked.as_count), 3)
    countdown: float = checked.option(checked.as_seconds, 5.0)
    backoff: float | Backoff = checked.option(as_backoff, 2.0)
    max_countdown: float = checked.option(checked.as_positive_seconds, 600.0)
    jitter: bool = checked.option(checked.as_bool, True)
    retry_on: tuple[type[BaseException], ...] = checked.option(as_exception_classes, (Exception,))
    no_retry_on: tuple[type[BaseException], ...] = checked.option(as_exception_classes, ())
    retry_for: float | None = checked.option(
        checked.or_none(partial(checked.as_positive_seconds, most=sys.float_info.max)), None
    )
    max_crashes: int = checked.option(partial(checked.as_count, least=1), 3)
    timeout: float | None = checked.option(checked.or_none(checked.as_positive_seconds), None)

    def __init__(self, **options: Unpack[PolicyOptions]) -> None:
        checked.fill(self, policy_options(options, owner="RetryPolicy"))
        if self.countdown > self.max_countdown:
            raise ValueError(
                f"countdown ({number_text(self.countdown)}) is above max_countdown "
                f"({number_text(self.max_countdown)}): raise max_countdown"
            )

    def replace(self, **options: Unpack[PolicyOptions]) -> RetryPolicy:
        """Return this policy with some options changed, checked again."""
        changes: dict[str, Any] = policy_options(options, owner="RetryPolicy")
        return dataclasses.replace(self, **changes)

    def decide(
        self,
        failure: Failure,
        *,
        now: datetime,
        random: Random,
        task_result: Any = None,
    ) -> Decision:
        """Decide what follows a failure.

        Args:
            failure: the failed attempt.
            now: the aware time that an `eta` or a Retry-After date is compared with.
            random: returns floats from 0 up to, not including, 1.
            task_result: argument of a callable backoff.
        """
        decision = self._decide(failure, now, random, task_result)
        if failure.retry is None or not failure.retry.mistake:
            return decision
        return dataclasses.replace(decision, reason=f"{decision.reason}; {failure.retry.mistake}")

    def _decide(
        self, failure: Failure, now: datetime, random: Random, task_result: Any
    ) -> Decision:
        stop = self._stop(failure)
        if stop is not None:
            return stop
        wait = self._wait(failure, now, random, task_result)
        if wait is None:
            return _stopped(StopReason.BACKOFF, "backoff returned None")
        if self.retry_for is not None and failure.elapsed + wait.seconds > self.retry_for:
            reason = f"retry_for: {number_text(self.retry_for)} s would be exceeded"
            return _stopped(StopReason.RETRY_FOR, reason)
        return _retried(failure, self._limit(failure), wait)

    def countdown_for(self, retry_number: int, random: Random) -> float:
        """Return the seconds to wait before a retry, counted from 1, with jitter.

        With a callable backoff: the `countdown`, its fallback.
        """
        base = self.base_countdown(retry_number)
        return base / 2 + random() * base / 2 if self.jitter else base

    def base_countdown(self, retry_number: int) -> float:
        """Return the seconds to wait before a retry, counted from 1, without jitter."""
        if callable(self.backoff) or self.countdown == 0:
            return self.countdown
        try:
            return min(self.countdown * self.backoff ** (retry_number - 1), self.max_countdown)
        except OverflowError:
            return self.max_countdown

    def schedule(self) -> list[tuple[int, float, float]]:
        """Return (retry number, least, most seconds) for the first 25 retries at most.

        Empty with a callable backoff, whose waits depend on the failure.
        """
        if callable(self.backoff):
            return []
        least = 0.5 if self.jitter else 1.0
        last = LONGEST_PREVIEW if self.max_retries is None else self.max_retries
        numbers = range(1, min(last, LONGEST_PREVIEW) + 1)
        return [(n, self.base_countdown(n) * least, self.base_countdown(n)) for n in numbers]

    def _stop(self, failure: Failure) -> Decision | None:
        if failure.kind is FailureKind.NOT_STORABLE:
            return _stopped(StopReason.NOT_STORABLE, "the return value cannot be stored")
        return (
            self._stop_crashed(failure)
            or self._stop_not_retryable(failure)
            or self._stop_at_limit(failure)
        )

    def _stop_crashed(self, failure: Failure) -> Decision | None:
        if failure.kind is not FailureKind.LOST or failure.crash_count < self.max_crashes:
            return None
        reason = f"max_crashes reached (crash {failure.crash_count} of {self.max_crashes})"
        return _stopped(StopReason.CRASHED, reason)

    def _stop_not_retryable(self, failure: Failure) -> Decision | None:
        raised = failure.kind is FailureKind.RAISED
        if failure.retry is not None or not (raised or failure.kind is FailureKind.TIMED_OUT):
            return None
        why = why_not_retryable(
            failure.exception, self.retry_on, self.no_retry_on, always=not raised
        )
        return _stopped(StopReason.NOT_RETRYABLE, why) if why else None

    def _stop_at_limit(self, failure: Failure) -> Decision | None:
        limit = self._limit(failure)
        if limit is None or failure.retry_count < limit:
            return None
        retries = "retry" if failure.retry_count == 1 else "retries"
        reason = f"max_retries reached ({failure.retry_count} {retries})"
        return _stopped(_AT_LIMIT.get(failure.kind, StopReason.MAX_RETRIES), reason)

    def _limit(self, failure: Failure) -> int | None:
        if failure.retry is None or failure.retry.max_retries is checked.UNSET:
            return self.max_retries
        return failure.retry.max_retries

    def _wait(
        self, failure: Failure, now: datetime, random: Random, task_result: Any
    ) -> _Wait | None:
        """Return the wait before the next retry; None: a callable backoff stops."""
        explicit = _explicit_wait(failure.retry, now)
        if explicit is not None:
            return explicit
        wait = self._own_wait(failure, random, task_result)
        return None if wait is None else _at_least_retry_after(wait, failure.exception, now)

    def _own_wait(self, failure: Failure, random: Random, task_result: Any) -> _Wait | None:
        countdown = self.countdown_for(failure.retry_count + 1, random)
        if not callable(self.backoff):
            return _Wait(countdown)
        try:
            answer = self.backoff(failure.exception, task_result)
        except Exception as error:  # foreign code must not cost the Task its retry
            return _Wait(countdown, f"countdown, as backoff raised {type(error).__name__}")
        try:
            seconds = checked.or_none(checked.as_seconds)("the answer of backoff", answer)
            return None if seconds is None else _Wait(seconds)
        except (TypeError, ValueError) as error:
            return _Wait(countdown, f"countdown, as {error}")


def policy_options(
    options: Mapping[str, Any], *, owner: str, beside: Iterable[str] = ()
) -> dict[str, Any]:
    """Return checked options by the names of RetryPolicy's attributes.

    `max_attempts=n` becomes `max_retries=n - 1`; None stays None.

    Args:
        options: the options of a decorator, a call or a setting.
        owner: name for errors, such as the function's name.
        beside: the owner's further options, for the error that lists all options.

    Raises:
        TypeError: an unknown option, a wrong type, or `max_attempts` beside `max_retries`.
        ValueError: an option out of its range.
    """
    for name in options:
        if name not in OPTION_NAMES:
            raise TypeError(f"{owner}: {unknown_option(str(name), (*OPTION_NAMES, *beside))}")
    named = dict(options)
    if "max_attempts" in named:
        if "max_retries" in named:
            raise TypeError(f"{owner}: give max_retries or max_attempts, not both")
        attempts = named.pop("max_attempts")
        if attempts is not None:
            attempts = checked.as_count(f"{owner}: max_attempts", attempts, least=1) - 1
        named["max_retries"] = attempts
    return checked.options(RetryPolicy, named, f"{owner}: ")


class _Wait(NamedTuple):
    seconds: float
    note: str = ""


_AT_LIMIT: Final = {
    FailureKind.LOST: StopReason.CRASHED,
    FailureKind.NOT_IMPORTABLE: StopReason.NOT_IMPORTABLE,
}


def _stopped(stop_reason: StopReason, reason: str) -> Decision:
    return Decision(countdown=None, stop_reason=stop_reason, reason=reason)


def _retried(failure: Failure, limit: int | None, wait: _Wait) -> Decision:
    limited = "(no limit)" if limit is None else f"of {limit}"
    note = f" ({wait.note})" if wait.note else ""
    reason = f"retry {failure.retry_count + 1} {limited} in {number_text(wait.seconds)} s{note}"
    return Decision(countdown=wait.seconds, stop_reason=None, reason=reason)


def _explicit_wait(retry: Retry | None, now: datetime) -> _Wait | None:
    if retry is None:
        return None
    if retry.eta is not None:
        return _Wait(min(max((retry.eta - now).total_seconds(), 0.0), FARTHEST_ETA))
    return None if retry.countdown is None else _Wait(retry.countdown)


def _at_least_retry_after(wait: _Wait, exception: BaseException, now: datetime) -> _Wait:
    seconds = retry_after_seconds(exception, now)
    if seconds is None or seconds <= wait.seconds:
        return wait
    return _Wait(seconds, "Retry-After")
