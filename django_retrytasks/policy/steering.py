"""Decide by its class whether an exception steers its Task, and whether it is retried.

In an exception group the leaves decide.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final

from django_retrytasks.errors.causes import is_a, leaves
from django_retrytasks.exceptions import Discard, Retry, Snooze

Steering = Retry | Snooze | Discard
Classes = tuple[type[BaseException], ...]

# In a group of several kinds the first one here counts: it gives up least.
STEERING: Final[tuple[type[Steering], ...]] = (Retry, Snooze, Discard)


def steering_of(error: BaseException) -> Steering | None:
    """Return the exception that steers; None: the policy decides.

    A group steers only if each leaf does. A Retry whose cause is a Retry, Snooze or Discard, as
    after a broad ``except Exception``, gives way to its cause.
    """
    raised = [_first_raised(leaf) for leaf in leaves(error)]
    steering = [each for each in raised if is_a(each, STEERING)]
    if len(steering) < len(raised):
        return None
    return next(each for kind in STEERING for each in steering if is_a(each, kind))


def _first_raised(error: BaseException) -> BaseException:
    seen: set[int] = set()
    while is_a(error, Retry) and id(error) not in seen:
        seen.add(id(error))
        if is_a(error.cause, STEERING):
            error = error.cause
    return error


def why_not_retryable(
    exception: BaseException, retry_on: Classes, no_retry_on: Classes, *, always: bool = False
) -> str:
    """Return why an exception is not retried, in words; "" if it is retried.

    A group with a leaf in ``no_retry_on`` is not retried. Any other group is retried if every leaf
    is in ``retry_on``, or if ``retry_on`` names the group's own class. Retry, Snooze and Discard
    are ignored beside other leaves. A CancelledError from the function counts as an Exception.

    Args:
        exception: the raised exception.
        retry_on: classes to retry.
        no_retry_on: classes not to retry; overrides ``retry_on``.
        always: whether to retry everything but ``no_retry_on``.
    """
    counted = [leaf for leaf in leaves(exception) if not is_a(leaf, STEERING)] or [exception]
    for error in (exception, *counted):
        if _is_in(error, no_retry_on):
            return f"{type(error).__name__} is in no_retry_on"
    if always or _names_group(exception, retry_on):
        return ""
    unlisted = next((error for error in counted if not _is_in(error, retry_on)), None)
    return "" if unlisted is None else f"{type(unlisted).__name__} is not in retry_on"


def _is_in(exception: BaseException, classes: Classes) -> bool:
    cancelled = is_a(exception, CancelledError) and Exception in classes
    return cancelled or isinstance(exception, classes)


def _names_group(exception: BaseException, classes: Classes) -> bool:
    groups = tuple(each for each in classes if issubclass(each, BaseExceptionGroup))
    return bool(groups) and isinstance(exception, groups)
