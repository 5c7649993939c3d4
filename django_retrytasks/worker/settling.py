"""Settle endings, whatever the database says of one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from django_retrytasks import lifecycle
from django_retrytasks.database.persistence import is_joined, is_transient, persist
from django_retrytasks.lifecycle import Ending, Settled

from .attempt import refused

logger = logging.getLogger("django_retrytasks")


def settle(
    endings: Sequence[Ending], until: float
) -> Iterator[tuple[Sequence[Ending], list[Settled]]]:
    """Settle endings of one claim: together, or one by one where the database refuses that.

    An ending refused for good does not take the others with it: a failure that says so is recorded
    in its place.

    Args:
        endings: one at least.
        until: when to give up, in seconds of the monotonic clock.

    Yields the endings in their order, one or more as soon as they are dealt with, and what was
    accepted of these.

    Raises:
        Exception: the time is over, and the database is away or still refuses for a while.
    """
    try:
        settled = persist(lambda: lifecycle.settle(endings), until)
    except Exception as error:
        if is_joined() or is_transient(error):
            raise
        if len(endings) > 1:
            for ending in endings:
                yield from settle([ending], until)
            return
        settled = _settle_refused(endings[0], error, until)
    yield endings, settled


def _settle_refused(ending: Ending, error: Exception, until: float) -> list[Settled]:
    """Record that an outcome cannot be stored; if that is refused too, only log it."""
    logger.error("Task %s: its outcome cannot be stored", ending.task.pk, exc_info=error)
    try:
        return persist(lambda: lifecycle.settle([refused(ending, error)]), until)
    except Exception as another:
        if is_transient(another):
            raise
        logger.exception("Task %s: its attempt is lost", ending.task.pk)
        return []
