"""Wait for the notifications of PostgreSQL, on a connection that does nothing else."""

from __future__ import annotations

import logging
import math
import os
import selectors
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.db import connections

logger = logging.getLogger("django_retrytasks")

# Seconds between two tries to listen, once one has failed.
REST = 10.0
# Probes keep firewalls from dropping the silent connection, and show when it is dead. The last one,
# in milliseconds, is for statements that nobody answers.
KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


class Listener:
    """Waits for notifications of one channel, whose content it ignores.

    It raises nothing when the connection fails: then it only sleeps, logs one warning, and connects
    again later. It is for one thread. A forked process begins without its parent's connection.

    Args:
        alias: the database, a PostgreSQL.
        channel: a name of at most 63 letters in lower case, digits and underscores.
    """

    def __init__(self, alias: str, channel: str) -> None:
        self._alias = alias
        self._channel = channel
        self._connection: Any = None
        self._pid = os.getpid()
        self._is_listening = False
        self._is_outage_logged = False
        self._rests_until = -math.inf

    def listen(self) -> None:
        """Begin to listen, unless it does, or a try has failed a moment ago."""
        if self._pid != os.getpid():
            self._connection, self._is_listening, self._pid = None, False, os.getpid()
        if self._is_listening or time.monotonic() < self._rests_until:
            return
        with self._surviving():
            self._execute("LISTEN")
            self._is_listening = True
            if self._is_outage_logged:
                logger.info("Notifications are heard again")
                self._is_outage_logged = False

    def wait(self, seconds: float) -> bool:
        """Wait for a notification, for at most ``seconds``; return whether one came."""
        until = time.monotonic() + seconds
        if self._is_listening:
            with self._surviving():
                return self._hears_until(until)
        time.sleep(max(0.0, until - time.monotonic()))
        return False

    def pause(self) -> None:
        """Stop listening, and keep the connection.

        The server stores what a listening client does not read. So listen only while waiting.
        """
        if self._is_listening:
            with self._surviving():
                self._execute("UNLISTEN")
                self._is_listening = False

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None and self._pid == os.getpid():
            with suppress(Exception):
                self._connection.close()
        self._connection, self._is_listening = None, False

    def _execute(self, verb: str) -> None:
        if self._connection is None:
            self._connection = _own_connection(self._alias)
            self._connection.ensure_connection()
            _drop_backlog(self._connection.connection)
        with self._connection.cursor() as cursor:
            cursor.execute(f"{verb} {self._channel}")

    def _hears_until(self, until: float) -> bool:
        with selectors.DefaultSelector() as selector, self._connection.wrap_database_errors:
            selector.register(self._connection.connection, selectors.EVENT_READ)
            while (left := until - time.monotonic()) > 0:
                if selector.select(left) and _is_notified(self._connection.connection):
                    return True
        return False

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Give the connection up if the body fails, whatever the error: the owner polls anyway."""
        try:
            yield
        except Exception as error:
            if not self._is_listening:
                self._rests_until = time.monotonic() + REST
            self.close()
            if not self._is_outage_logged:
                logger.warning("No notification is heard, so the cluster polls: %s", error)
                self._is_outage_logged = True


def _own_connection(alias: str) -> Any:
    """Return a connection that Django does not manage, and so does not close or share."""
    own: Any = connections[alias].copy()
    own.settings_dict["OPTIONS"] = {**KEEPALIVES, **own.settings_dict["OPTIONS"]}
    return own


def _drop_backlog(driver: Any) -> None:
    """Let psycopg keep no notification that comes during a statement."""
    if hasattr(driver, "add_notify_handler"):
        driver.add_notify_handler(lambda notification: None)


def _is_notified(driver: Any) -> bool:
    """Read what the server has sent; return whether a notification was among it.

    Args:
        driver: the connection of psycopg or of psycopg2.
    """
    if hasattr(driver, "pgconn"):
        driver.pgconn.consume_input()
        return any([*iter(driver.pgconn.notifies, None)])
    driver.poll()
    is_notified = bool(driver.notifies)
    driver.notifies.clear()
    return is_notified
