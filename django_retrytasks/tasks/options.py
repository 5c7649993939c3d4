"""The options of the decorator, of ``using`` and of a call; errors name the wrong option."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from django_retrytasks import models
from django_retrytasks.policy import Breaker, PolicyOptions
from django_retrytasks.values import moments
from django_retrytasks.values.checked import (
    Duration,
    as_count,
    as_datetime,
    as_positive_seconds,
    as_texts,
    or_none,
)

from .storing import Call

FailureReceiver = Callable[[models.Task, models.Attempt], object]
Unique = bool | str | Callable[[Mapping[str, Any]], str]
"""What makes a Task unique: all arguments, the one of a name, or a callable's text of them."""

# Options that are code cannot be stored with a call.
DECORATOR_ONLY = ("retry_on", "no_retry_on")


class TaskOptions(PolicyOptions, total=False):
    """The options of ``@retry_task``: the policy's and the task's own."""

    priority: int
    queue_name: str
    backend: str
    sensitive: Sequence[str]
    search_key: str
    unique: Unique
    unique_for: Duration | None
    on_failure: FailureReceiver | str | None
    concurrency: int
    expires: Duration | datetime | None
    interruptible: bool
    breaker: Breaker | None


# Options of the decorator and of using() besides the policy's; all options of apply_async().
BESIDE_POLICY = (
    "bind",
    "takes_context",
    *(name for name in TaskOptions.__annotations__ if name not in PolicyOptions.__annotations__),
)
CALL_OPTIONS = ("priority", "queue_name", "run_after", "expires", "backend")
APPLY_OPTIONS = ("args", "kwargs", "countdown", "eta", "expires", "queue", "priority")

as_parameters = partial(as_texts, expected="a list of parameter names")
# Each may hold a database connection.
MOST_TOGETHER = 100
as_concurrency = partial(as_count, least=1, most=MOST_TOGETHER)
as_period = or_none(as_positive_seconds)


def as_receiver(name: str, value: Any) -> Any:
    """Return a callable, its dotted path, or None; raise TypeError for anything else."""
    if value is None or ("." in value if isinstance(value, str) else callable(value)):
        return value
    raise TypeError(f"{name} must be a callable or the dotted path of one, not {value!r}")


def as_unique(name: str, value: Any) -> Any:
    """Return True, False, a parameter's name or a callable; raise TypeError for anything else."""
    if isinstance(value, bool) or (isinstance(value, str) and value) or callable(value):
        return value
    raise TypeError(
        f"{name} must be True, the name of a parameter, or a callable that makes a text of the "
        f"arguments, not {value!r}"
    )


def refuse_code(options: Mapping[str, Any], name: str) -> None:
    """Raise TypeError for an option that cannot be stored with a call."""
    for option, value in options.items():
        if option in DECORATOR_ONLY or callable(value):
            raise TypeError(
                f"{name}: {option} is code, which a call cannot store: set it on the decorator"
            )


def in_short(options: Mapping[str, Any]) -> dict[str, Any]:
    """Shorten policy options for storage with a call: 7 in place of 7.0."""
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in options.items()
    }


def moment(run_after: datetime | timedelta | None, *, owner: str) -> datetime | None:
    """Return ``run_after`` as a datetime; a timedelta counts from now.

    Raises:
        TypeError: another type.
        ValueError: a moment out of its range.
    """
    if run_after is None:
        return None
    if isinstance(run_after, timedelta):
        with suppress(OverflowError):
            run_after = moments.after(timezone.now(), run_after)
    if isinstance(run_after, datetime):
        return as_datetime(f"{owner}: run_after", run_after)
    if isinstance(run_after, timedelta):
        raise ValueError(f"{owner}: run_after leads past the year 9997: {run_after!r}")
    raise TypeError(
        f"{owner}: run_after must be an aware datetime or a timedelta, not {run_after!r}"
    )


def split_call(call: Sequence[Any] | Mapping[str, Any]) -> Call:
    """Split a call of ``enqueue_many`` into positional and keyword arguments.

    Raises:
        TypeError: no tuple, list or mapping. The message shows no value: it may be a secret.
    """
    if isinstance(call, Mapping):
        return (), call
    if isinstance(call, tuple | list):
        return call, {}
    raise TypeError(
        "a call is a tuple of arguments or a mapping of keyword arguments, not a "
        f"{type(call).__name__}"
    )


def split_apply(args: object, kwargs: object, *, owner: str) -> Call:
    """Return the arguments of ``apply_async``; None means no arguments.

    Raises:
        TypeError: as :func:`split_call`.
    """
    if not isinstance(args, tuple | list | None):
        raise TypeError(
            f"{owner}: args must be a tuple or a list of arguments, such as (value,), not a "
            f"{type(args).__name__}"
        )
    if not isinstance(kwargs, Mapping | None):
        raise TypeError(f"{owner}: kwargs must be a mapping, not a {type(kwargs).__name__}")
    return args or (), kwargs or {}
