"""Decide what follows a failed attempt: pure values, no clock, randomness passed in."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from reprlib import repr as short_repr
from typing import Any, Final, NamedTuple, TypedDict, Unpack

from django.db.models.enums import TextChoices
from django.utils.http import parse_http_date
from django.utils.translation import gettext_lazy as _

from .celery_words import unknown_option
from .exceptions import LONGEST_WAIT, UNSET, Duration, Retry, as_count, as_seconds
from .retryable import why_not_retryable

__all__ = [
    "Decision",
    "Failure",
    "FailureKind",
    "PolicyOptions",
    "RetryPolicy",
    "StopReason",
    "policy_options",
    "retry_after_seconds",
]

Random = Callable[[], float]
Backoff = Callable[[BaseException, Any], Duration | None]
ExceptionClasses = type[BaseException] | Iterable[type[BaseException]]

LONGEST_RETRY_AFTER: Final = 86_400.0
LONGEST_PREVIEW: Final = 25
FARTHEST_ETA: Final = 100 * LONGEST_WAIT  # so that now + countdown stays a datetime


class StopReason(TextChoices):
    """Why a Task is not retried."""

    # Set by the policy: max_retries were spent, the last on an exception or a timeout.
    MAX_RETRIES = "MAX_RETRIES", _("max_retries reached")
    # Set by the policy: the next retry would begin later than retry_for after the first start.
    RETRY_FOR = "RETRY_FOR", _("retry_for would be exceeded")
    # Set by the policy: the exception is not in retry_on, or is in no_retry_on.
    NOT_RETRYABLE = "NOT_RETRYABLE", _("exception not retryable")
    # Set by the policy: its callable backoff returned None.
    BACKOFF = "BACKOFF", _("stopped by backoff")
    # Set by the policy: a lost worker was the last of max_crashes, or no retry was left after it.
    CRASHED = "CRASHED", _("worker lost too often")
    # Set by the policy: the function could not be imported and no retry was left.
    NOT_IMPORTABLE = "NOT_IMPORTABLE", _("function not importable")
    # Set by the policy: the function returned what the codec cannot store.
    NOT_STORABLE = "NOT_STORABLE", _("return value not storable")
    # Set by whoever settles a Discard, and by an operator's discard.
    DISCARDED = "DISCARDED", _("discarded")


class FailureKind(Enum):
    """How an attempt failed."""

    RAISED = auto()
    TIMED_OUT = auto()
    LOST = auto()
    NOT_IMPORTABLE = auto()
    NOT_STORABLE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt as the policy sees it.

    Attributes:
        exception: what was raised; for an explicit Retry its `cause`.
        kind: how the attempt failed.
        retry_count: retries spent before this failure; 0 at the first.
        crash_count: attempts lost so far, this one included.
        elapsed: seconds since the Task's first start.
        retry: the explicit Retry, None where the function raised something else.
    """

    exception: BaseException
    kind: FailureKind
    retry_count: int
    crash_count: int = 0
    elapsed: float = 0.0
    retry: Retry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows a failure: a retry, or the end.

    Attributes:
        countdown: seconds to wait before the retry, None for the end.
        stop_reason: why it is the end, None for a retry.
        reason: the same in words, for the Attempt's history.
    """

    countdown: float | None
    stop_reason: StopReason | None
    reason: str

    @property
    def retries(self) -> bool:
        """Tell whether a retry follows."""
        return self.countdown is not None


class PolicyOptions(TypedDict, total=False):
    """The options of a RetryPolicy as decorators, settings and calls give them."""

    max_retries: int | None
    max_attempts: int | None
    countdown: Duration
    backoff: float | Backoff
    max_countdown: Duration
    jitter: bool
    retry_on: ExceptionClasses
    no_retry_on: ExceptionClasses
    retry_for: Duration | None
    max_crashes: int
    timeout: Duration | None


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class RetryPolicy:
    """The rule that decides what follows a failure.

    Retry n (from 1) waits `countdown * backoff ** (n - 1)` seconds, at most `max_countdown`:
    5, 10, 20, 40, 80, 160, 320, 600, 600 … by default; with jitter, half to all of that.

    Durations are given as seconds or a timedelta and kept as float seconds.

    Attributes:
        max_retries: attempts after the first, at most; 0 for none, None for ever.
            `max_attempts=n` is accepted for `max_retries=n - 1`.
        countdown: seconds before the first retry, 0 to `max_countdown`.
        backoff: the factor by which the countdown grows, at least 1; or a callable
            `(exception, task_result) -> seconds | timedelta | None` that gives each wait, 0 to 366
            days, exactly as it is to be (no jitter, no `max_countdown`); its None stops.
        max_countdown: the longest countdown in seconds, above 0, at most 366 days.
        jitter: whether to wait a random part of the countdown, from half of it to all.
        retry_on: exception classes to retry; one class or several. Of an exception group each leaf
            counts.
        no_retry_on: classes among those not to retry; one leaf of a group is enough.
        retry_for: seconds since the first start within which the last retry begins; None for
            no limit.
        max_crashes: how often a Task's worker may be lost before the Task is failed, from 1.
        timeout: seconds an attempt may run, above 0, at most 366 days; None for no limit.

    Raises:
        TypeError: an unknown option, or one of a wrong type.
        ValueError: an option out of its range.
    """

    max_retries: int | None = 3
    countdown: float = 5.0
    backoff: float | Backoff = 2.0
    max_countdown: float = 600.0
    jitter: bool = True
    retry_on: tuple[type[BaseException], ...] = (Exception,)
    no_retry_on: tuple[type[BaseException], ...] = ()
    retry_for: float | None = None
    max_crashes: int = 3
    timeout: float | None = None

    def __init__(self, **options: Unpack[PolicyOptions]) -> None:
        given = policy_options(options, owner="RetryPolicy")
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, given.get(field.name, field.default))
        if self.countdown > self.max_countdown:
            raise ValueError(
                f"countdown ({_shown(self.countdown)}) is above max_countdown "
                f"({_shown(self.max_countdown)}): raise max_countdown"
            )

    def replace(self, **options: Unpack[PolicyOptions]) -> RetryPolicy:
        """Return this policy with some options changed, checked anew."""
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
            now: the aware time from which an `eta` or a Retry-After date is counted.
            random: gives floats from 0 up to, not including, 1.
            task_result: handed to a callable backoff.
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
            reason = f"retry_for: {_shown(self.retry_for)} s would be exceeded"
            return _stopped(StopReason.RETRY_FOR, reason)
        return _retried(failure, self._limit(failure), wait)

    def countdown_for(self, retry_number: int, random: Random) -> float:
        """Return the seconds to wait before a retry, counted from 1, jitter included.

        With a callable backoff: the `countdown` it falls back to.
        """
        base = self.base_countdown(retry_number)
        return _jittered(base, random) if self.jitter else base

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

        Empty with a callable backoff, whose answers depend on the failure.
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
        if failure.retry is None or failure.retry.max_retries is UNSET:
            return self.max_retries
        return failure.retry.max_retries

    def _wait(
        self, failure: Failure, now: datetime, random: Random, task_result: Any
    ) -> _Wait | None:
        """Return the wait before the next retry, None where a callable backoff stops."""
        asked = _asked_wait(failure.retry, now)
        if asked is not None:
            return asked
        wait = self._own_wait(failure, random, task_result)
        return None if wait is None else _no_sooner_than_asked(wait, failure.exception, now)

    def _own_wait(self, failure: Failure, random: Random, task_result: Any) -> _Wait | None:
        plain = self.countdown_for(failure.retry_count + 1, random)
        if not callable(self.backoff):
            return _Wait(plain)
        try:
            answer = self.backoff(failure.exception, task_result)
        except Exception as error:  # foreign code must not cost the Task its retry
            return _Wait(plain, f"countdown, as backoff raised {type(error).__name__}")
        try:
            return None if answer is None else _Wait(as_seconds("the answer of backoff", answer))
        except (TypeError, ValueError) as error:
            return _Wait(plain, f"countdown, as {error}")


def policy_options(
    options: Mapping[str, Any], *, owner: str, beside: Iterable[str] = ()
) -> dict[str, Any]:
    """Return options as RetryPolicy keeps them: by the names of its attributes, each checked.

    `max_attempts=n` becomes `max_retries=n - 1`, its None stays None.

    Args:
        options: what a decorator, a call or a setting gives.
        owner: what an error names, such as the function's name.
        beside: the owner's further options, for the error that lists all.

    Raises:
        TypeError: an unknown option, one of a wrong type, or `max_attempts` beside `max_retries`.
        ValueError: an option out of its range.
    """
    for name in options:
        if name not in _OPTION_NAMES:
            raise TypeError(f"{owner}: {unknown_option(str(name), (*_OPTION_NAMES, *beside))}")
    named = dict(options)
    if "max_attempts" in named:
        if "max_retries" in named:
            raise TypeError(f"{owner}: give max_retries or max_attempts, not both")
        attempts = named.pop("max_attempts")
        if attempts is not None:
            attempts = as_count(f"{owner}: max_attempts", attempts, least=1) - 1
        named["max_retries"] = attempts
    return {name: _CHECKS[name](f"{owner}: {name}", value) for name, value in named.items()}


def retry_after_seconds(exception: BaseException, now: datetime) -> float | None:
    """Return how long an exception asks to wait, in seconds from 0 to 86400.

    Read from its attribute `retry_after` (a number, timedelta, numeric string or HTTP date), else
    from the Retry-After header of its `response.headers`, as requests and httpx have them.
    None where there is none, or one that makes no sense.
    """
    for read in (_attribute, _header):
        with suppress(Exception):  # foreign attributes may raise anything
            seconds = _seconds_from(read(exception), now)
            if seconds is not None and math.isfinite(seconds):
                return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
    return None


class _Wait(NamedTuple):
    seconds: float
    note: str = ""


_OPTION_NAMES: Final = tuple(PolicyOptions.__annotations__)
_AT_LIMIT: Final = {
    FailureKind.LOST: StopReason.CRASHED,
    FailureKind.NOT_IMPORTABLE: StopReason.NOT_IMPORTABLE,
}


def _stopped(stop_reason: StopReason, reason: str) -> Decision:
    return Decision(countdown=None, stop_reason=stop_reason, reason=reason)


def _retried(failure: Failure, limit: int | None, wait: _Wait) -> Decision:
    of = "(no limit)" if limit is None else f"of {limit}"
    note = f" ({wait.note})" if wait.note else ""
    reason = f"retry {failure.retry_count + 1} {of} in {_shown(wait.seconds)} s{note}"
    return Decision(countdown=wait.seconds, stop_reason=None, reason=reason)


def _jittered(base: float, random: Random) -> float:
    return base / 2 + random() * base / 2


def _asked_wait(retry: Retry | None, now: datetime) -> _Wait | None:
    if retry is None:
        return None
    if retry.eta is not None:
        return _Wait(min(max((retry.eta - now).total_seconds(), 0.0), FARTHEST_ETA))
    return None if retry.countdown is None else _Wait(retry.countdown)


def _no_sooner_than_asked(wait: _Wait, exception: BaseException, now: datetime) -> _Wait:
    seconds = retry_after_seconds(exception, now)
    if seconds is None or seconds <= wait.seconds:
        return wait
    return _Wait(seconds, "Retry-After")


def _attribute(exception: BaseException) -> object:
    return getattr(exception, "retry_after", None)


def _header(exception: BaseException) -> object:
    headers = getattr(getattr(exception, "response", None), "headers", None) or {}
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def _seconds_from(value: object, now: datetime) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
        return parse_http_date(value) - now.timestamp()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".")


def _check_backoff(name: str, value: object) -> float | Backoff:
    if callable(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or a callable, not {short_repr(value)}")
    if not 1 <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be at least 1 and finite, not {short_repr(value)}")
    return float(value)


def _check_jitter(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {short_repr(value)}")
    return value


def _check_classes(name: str, value: object) -> tuple[type[BaseException], ...]:
    if isinstance(value, str):
        raise TypeError(f"{name} must hold exception classes, not the name of one: {value!r}")
    classes = tuple(value) if isinstance(value, Iterable) else (value,)
    for item in classes:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise TypeError(f"{name} must hold exception classes only, not {short_repr(item)}")
    return classes


def _or_none(check: Callable[[str, object], Any]) -> Callable[[str, object], Any]:
    return lambda name, value: None if value is None else check(name, value)


_CHECKS: Final[dict[str, Callable[[str, Any], Any]]] = {
    "max_retries": _or_none(as_count),
    "countdown": as_seconds,
    "backoff": _check_backoff,
    "max_countdown": partial(as_seconds, above_zero=True),
    "jitter": _check_jitter,
    "retry_on": _check_classes,
    "no_retry_on": _check_classes,
    "retry_for": _or_none(partial(as_seconds, above_zero=True, most=sys.float_info.max)),
    "max_crashes": partial(as_count, least=1),
    "timeout": _or_none(partial(as_seconds, above_zero=True)),
}
