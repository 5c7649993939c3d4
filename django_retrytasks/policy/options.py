"""The options of a policy, each checked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from reprlib import repr as short_repr
from typing import Any, Final, TypedDict

from django_retrytasks.values.checked import Duration, as_count, as_seconds

from .celery_words import unknown_option

Backoff = Callable[[BaseException, Any], Duration | None]
ExceptionClasses = type[BaseException] | Iterable[type[BaseException]]


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


_OPTION_NAMES: Final = tuple(PolicyOptions.__annotations__)


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
