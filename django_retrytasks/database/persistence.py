"""Persist in a transaction while the database is away or its errors are transient."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from django.db import Error, connections

from . import refusals
from .connection import alias

T = TypeVar("T")
logger = logging.getLogger("django_retrytasks")

# Seconds between two tries: the first pause, doubled after each try, up to the longest.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


def persist(act: Callable[[], T], until: float) -> T:
    """Run a transaction; run it again after transient errors, until it succeeds or time is up.

    Any other error may come from a broken connection. So the transaction runs once more on a new
    connection, and a second such error is raised. Inside a caller's transaction, the first error
    is raised and the connection stays open.

    Args:
        act: one transaction, safe to repeat.
        until: when to give up, in seconds of the monotonic clock.

    Raises:
        Exception: the error of the last try.
    """
    if is_joined():
        return act()
    pause, refusals_left = FIRST_PAUSE, 2
    while True:
        try:
            return act()
        except Exception as error:
            refusals_left -= not is_transient(error)
            seconds_left = until - time.monotonic()
            if seconds_left <= 0 or not refusals_left:
                raise
            pause = min(pause, seconds_left)
            logger.warning("The database is tried again in %.2f s: %s", pause, error)
        _close()
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def is_joined() -> bool:
    """Whether the caller has opened a transaction."""
    return connections[alias()].in_atomic_block


def is_transient(error: Exception) -> bool:
    """Whether an error may not recur: the database is away, or the code is transient."""
    return refusals.has_transient_code(error) or (isinstance(error, Error) and not _is_usable())


def _is_usable() -> bool:
    connection = connections[alias()]
    return connection.connection is not None and bool(connection.is_usable())


def _close() -> None:
    with suppress(Exception):
        connections[alias()].close()
