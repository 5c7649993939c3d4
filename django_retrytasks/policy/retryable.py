"""Tell whether an exception is of the classes that a policy retries; of a group, its leaves are."""

from __future__ import annotations

from asyncio import CancelledError

from django_retrytasks.errors.causes import is_a, leaves

from .steering import STEERING

__all__ = ["why_not_retryable"]

Classes = tuple[type[BaseException], ...]


def why_not_retryable(
    exception: BaseException, retry_on: Classes, no_retry_on: Classes, *, always: bool = False
) -> str:
    """Return in words why an exception is not retried; "" if it is.

    A group is not retried if one leaf is in ``no_retry_on``, and otherwise only if every leaf is in
    ``retry_on``, or if ``retry_on`` names the group's own class. Leaves that steer (Retry, Snooze,
    Discard) do not count beside others. A CancelledError that the function raised counts as an
    Exception does.

    Args:
        exception: what was raised.
        retry_on: classes to retry.
        no_retry_on: classes not to retry, whatever ``retry_on`` says.
        always: whether all but ``no_retry_on`` is retried.
    """
    counted = [leaf for leaf in leaves(exception) if not is_a(leaf, STEERING)] or [exception]
    for one in (exception, *counted):
        if _is_in(one, no_retry_on):
            return f"{type(one).__name__} is in no_retry_on"
    if always or _names_group(exception, retry_on):
        return ""
    strange = next((one for one in counted if not _is_in(one, retry_on)), None)
    return "" if strange is None else f"{type(strange).__name__} is not in retry_on"


def _is_in(exception: BaseException, classes: Classes) -> bool:
    cancelled = is_a(exception, CancelledError) and Exception in classes
    return cancelled or isinstance(exception, classes)


def _names_group(exception: BaseException, classes: Classes) -> bool:
    groups = tuple(each for each in classes if issubclass(each, BaseExceptionGroup))
    return bool(groups) and isinstance(exception, groups)
