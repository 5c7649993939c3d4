"""Settle endings, even if the database refuses one of them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from django_retrytasks import lifecycle
from django_retrytasks.database.persistence import is_joined, is_transient, persist
from django_retrytasks.lifecycle import Ending, Settled

from .deciding import refused

logger = logging.getLogger("django_retrytasks")


def settle(
    endings: Sequence[Ending], until: float
) -> Iterator[tuple[Sequence[Ending], list[Settled]]]:
    """Settle endings of one claim: together, or one by one if the database refuses that.

    If the database refuses an ending for good, record a failure that says so instead.

    Args:
        endings: at least one.
        until: when to give up, in seconds of the monotonic clock.

    Yields endings in order, as soon as they are processed, with the accepted ones as Settled.

    Raises:
        Exception: the time is over, and the last error was transient.
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
    """Record that an outcome cannot be stored; if the database refuses that, log it only."""
    logger.error("Task %s: its outcome cannot be stored", ending.task.pk, exc_info=error)
    try:
        return persist(lambda: lifecycle.settle([refused(ending, error)]), until)
    except Exception as another:
        if is_transient(another):
            raise
        logger.exception("Task %s: its attempt cannot be recorded", ending.task.pk)
        return []
