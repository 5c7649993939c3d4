"""The latest start of a Task's first attempt: the option ``expires``."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from django_retrytasks.database import DatabaseNow
from django_retrytasks.values import moments
from django_retrytasks.values.checked import as_datetime, as_positive_seconds


def as_expiry(name: str, value: Any) -> float | datetime | None:
    """Return an expiry: float seconds from enqueue, a datetime, or None for never.

    Raises:
        TypeError: another type.
        ValueError: seconds or a datetime out of their range, or a naive datetime although
            ``USE_TZ`` is on.
    """
    if isinstance(value, datetime):
        if settings.USE_TZ and timezone.is_naive(value):
            raise ValueError(
                f"{name} must be an aware datetime, not {value!r}: "
                "use django.utils.timezone.make_aware"
            )
        return as_datetime(name, value)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | timedelta):
        raise TypeError(
            f"{name} must be seconds (int, float), a timedelta or an aware datetime, not {value!r}"
        )
    return as_positive_seconds(name, value)


def expires_at(
    name: str, *, expires: float | datetime | None, run_after: datetime | None
) -> datetime | DatabaseNow | None:
    """Return when a Task enqueued now expires; seconds count by the database's clock.

    Args:
        name: the task's name, for an error.
        expires: as :func:`as_expiry` returns it.
        run_after: the Task's earliest start; None: at once.

    Raises:
        ValueError: it would expire before its ``run_after``.
    """
    if expires is None:
        return None
    stored: datetime | DatabaseNow
    if isinstance(expires, datetime):
        at, stored = expires, moments.as_moment(expires)
    else:
        wait = timedelta(seconds=expires)
        at, stored = moments.after(timezone.now(), wait), DatabaseNow.after(wait)
    if run_after and moments.between(run_after, at) <= moments.ZERO:
        raise ValueError(
            f"{name}: it would expire at {at.isoformat()}, and not start before run_after, "
            f"{run_after.isoformat()}: give a later expires, which counts from enqueue"
        )
    return stored
