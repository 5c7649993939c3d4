"""Datetimes as in Django's models: aware, or naive local times if ``USE_TZ`` is off.

The ``fold`` of a local time counts (PEP 495): when the clock is put back, an hour passes twice, and
fold=1 marks the second time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

ZERO = timedelta(0)
# The run_after of due Tasks of a paused function, or of a paused queue.
PARKED = datetime(9999, 1, 1, tzinfo=UTC)


def as_instant(moment: datetime) -> datetime:
    """Return a datetime in UTC. A naive datetime is local time of ``TIME_ZONE``.

    Raises:
        ValueError: a naive datetime although ``USE_TZ`` is on.
    """
    if moment.tzinfo is UTC:  # a fast path for the database's datetimes
        return moment
    if timezone.is_naive(moment):
        if settings.USE_TZ:
            raise ValueError(f"{moment!r} is naive: use django.utils.timezone.make_aware")
        moment = moment.replace(tzinfo=timezone.get_default_timezone())
    return moment.astimezone(UTC)


def as_moment(value: datetime) -> datetime:
    """Return a datetime for a model's field: naive if ``USE_TZ`` is off."""
    if settings.USE_TZ or timezone.is_naive(value):
        return value
    return value.astimezone(timezone.get_default_timezone()).replace(tzinfo=None)


def after(moment: datetime, wait: timedelta) -> datetime:
    """Return the datetime ``wait`` later, correct even if the local clock changes in between."""
    if moment.tzinfo is UTC or settings.USE_TZ:  # the settings cost more than the sum
        return moment + wait
    return as_moment(as_instant(moment) + wait)


def later(moment: datetime | None, wait: timedelta) -> datetime | None:
    """Return the datetime ``wait`` later; None, or one about the end of time, as it is."""
    if moment is None or moment.year >= PARKED.year - 1:
        return moment
    return after(moment, wait)


def between(earlier: datetime, later: datetime) -> timedelta:
    """Return the time from ``earlier`` to ``later``; negative if ``later`` comes first."""
    return as_instant(later) - as_instant(earlier)


def without_fold(moment: datetime, now: datetime) -> datetime:
    """Return a naive datetime to store where the fold is lost; it never comes earlier.

    The second passing of an hour has the same local times as the first. Until the second has begun,
    a time in it is put off by an hour.
    """
    if timezone.is_aware(moment) or not moment.fold:
        return moment
    first = moment.replace(fold=0)
    if now.fold or as_instant(moment) <= as_instant(now):
        return first
    return first + max(between(first, moment), ZERO)


def parked_moment(breaker: int = 0) -> datetime:
    """Return the run_after of Tasks that wait: for a resume, or behind the breaker of this id.

    Each breaker has a moment of its own, so that an index finds the Tasks behind it.
    """
    moment = PARKED + timedelta(microseconds=breaker)
    return moment if settings.USE_TZ else moment.replace(tzinfo=None)
