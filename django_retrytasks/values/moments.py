"""Moments: datetimes as Django's models have them, aware, or local times where ``USE_TZ`` is off.

The ``fold`` of a local time counts (PEP 495): when the clock is put back an hour passes twice, and
fold=1 is the second time.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.utils import timezone

ZERO = timedelta(0)


def as_instant(moment: datetime) -> datetime:
    """Return a moment in UTC. A naive one is local time of ``TIME_ZONE``.

    Raises:
        ValueError: it is naive though ``USE_TZ`` is on.
    """
    if moment.tzinfo is UTC:  # as the database gives them: no work for each of many
        return moment
    if timezone.is_naive(moment):
        if settings.USE_TZ:
            raise ValueError(f"{moment!r} is naive: use django.utils.timezone.make_aware")
        moment = moment.replace(tzinfo=timezone.get_default_timezone())
    return moment.astimezone(UTC)


def as_moment(given: datetime) -> datetime:
    """Return a datetime as the models have it: a naive one where ``USE_TZ`` is off."""
    if settings.USE_TZ or timezone.is_naive(given):
        return given
    return given.astimezone(timezone.get_default_timezone()).replace(tzinfo=None)


def after(moment: datetime, wait: timedelta) -> datetime:
    """Return the moment that comes ``wait`` later, whether or not the local clock is changed."""
    if settings.USE_TZ:
        return moment + wait
    return as_moment(as_instant(moment) + wait)


def between(earlier: datetime, later: datetime) -> timedelta:
    """Return how long it is from one moment to another; below zero if that comes first."""
    return as_instant(later) - as_instant(earlier)


def without_fold(moment: datetime, now: datetime) -> datetime:
    """Return what stands for a naive moment where no fold is kept: never one that comes earlier.

    The second passing of an hour is told by the same local times as the first one. Before that has
    begun, a moment in it is put off by an hour.
    """
    if timezone.is_aware(moment) or not moment.fold:
        return moment
    first = moment.replace(fold=0)
    if now.fold or as_instant(moment) <= as_instant(now):
        return first
    return first + max(between(first, moment), ZERO)
