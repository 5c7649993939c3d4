"""Reach a database that may be away, or refuse for a while, or refuse for good."""

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

# Seconds between two tries: at first, doubled after each, and at most.
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0


def persist(act: Callable[[], T], until: float) -> T:
    """Do something with the database; try again while it is away or refuses for a while.

    Any other error may be the fault of the connection, such as of what a function left on it. So
    it is believed once a fresh connection gives one, too. In a caller's transaction nothing is
    tried again, and no connection is closed.

    Args:
        act: one transaction; may be done again.
        until: when to give up, in seconds of the monotonic clock.

    Raises:
        Exception: that of the last try.
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
    """Whether what is done now joins a transaction of the caller's."""
    return connections[alias()].in_atomic_block


def is_transient(error: Exception) -> bool:
    """Whether to try again what has just failed: the database is away, or refuses for a while."""
    return refusals.has_transient_code(error) or (isinstance(error, Error) and not _is_usable())


def _is_usable() -> bool:
    connection = connections[alias()]
    return connection.connection is not None and bool(connection.is_usable())


def _close() -> None:
    with suppress(Exception):
        connections[alias()].close()
