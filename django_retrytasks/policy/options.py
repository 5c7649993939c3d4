"""The options of a policy, and the checks that only policies need."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from reprlib import repr as short_repr
from typing import Any, TypedDict

from django_retrytasks.values.checked import Duration

Backoff = Callable[[BaseException, Any], Duration | None]
ExceptionClasses = type[BaseException] | Iterable[type[BaseException]]


class PolicyOptions(TypedDict, total=False):
    """The options of a RetryPolicy, as in decorators, settings and calls."""

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


def as_backoff(name: str, value: object) -> float | Backoff:
    """Return a factor as float, at least 1 and finite, or an unchanged callable."""
    if callable(value):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or a callable, not {short_repr(value)}")
    if not 1 <= value <= sys.float_info.max:
        raise ValueError(f"{name} must be at least 1 and finite, not {short_repr(value)}")
    return float(value)


def as_exception_classes(name: str, value: object) -> tuple[type[BaseException], ...]:
    """Return one or several exception classes as a tuple."""
    if isinstance(value, str):
        raise TypeError(f"{name} must hold exception classes, not the name of one: {value!r}")
    classes = tuple(value) if isinstance(value, Iterable) else (value,)
    for item in classes:
        if not (isinstance(item, type) and issubclass(item, BaseException)):
            raise TypeError(f"{name} must hold exception classes only, not {short_repr(item)}")
    return classes
