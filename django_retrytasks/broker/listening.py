"""The broker that listens: on PostgreSQL a notification ends the wait of an idle cluster.

A notification only wakes: its content is ignored, and the rows decide what is pulled. So a lost one
costs a poll, and a forged one a query.
"""

from __future__ import annotations

import logging
import math
from datetime import datetime, timedelta
from functools import cache
from hashlib import blake2b
from typing import Any

from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ

from django_retrytasks.database import alias, writes
from django_retrytasks.database.listener import Listener

from . import clusters

logger = logging.getLogger("django_retrytasks")

# By hand: an idle cluster would spend more on making the SQL than on running it.
TABLE = OrmQ._meta.db_table
NEXT = f"SELECT MIN(lock) FROM {TABLE} WHERE key = %s"  # noqa: S608
PULL = (
    f"WITH visible AS (SELECT id FROM {TABLE} WHERE key = %s AND lock < %s"  # noqa: S608
    f" LIMIT %s FOR UPDATE SKIP LOCKED) UPDATE {TABLE} pulled SET lock = %s FROM visible"
    " WHERE pulled.id = visible.id RETURNING pulled.id, pulled.payload"
)
# Seconds between two looks at rows that are visible, but locked by another transaction.
LOCKED = 0.05


class ListeningBroker(ORM):  # type: ignore[misc]
    """django-q2's ORM broker, but an idle cluster listens instead of sleeping.

    Choose it by ``Q_CLUSTER["broker_class"]``. On other databases than PostgreSQL it is the stock
    broker.
    """

    # django-q2 unpickles brokers without calling __init__.
    _listener: Listener | None = None
    _may_see_rows = True
    _saw_locked_rows = False

    def enqueue(self, task: str) -> int:
        """Store django-q2's own package and notify its cluster; return the row's id."""
        key = self.list_key or Conf.CLUSTER_NAME
        if not is_possible():
            return int(super().enqueue(task))
        self.get_connection()  # closes a stale connection
        row = {"key": key, "payload": task, "lock": timezone.now()}
        [pk] = writes.insert(OrmQ, [row], notify=channel(key))
        return int(pk)

    def dequeue(self) -> list[tuple[int, str]] | None:
        """Return rows to run; none after a wait of at most ``Q_CLUSTER["poll"]`` seconds."""
        if not is_possible():
            _warn_of(connections[alias()].display_name)
            pulled: list[tuple[int, str]] | None = super().dequeue()
            return pulled
        if self._may_see_rows and (rows := self._pull()):
            self._saw_locked_rows = False
            # django-q2 may now be busy for hours.
            self._ear().pause()
            return rows
        self._may_see_rows = self._wait()
        return None

    def close(self) -> None:
        """Close the connection that listens."""
        self._ear().close()

    def _pull(self) -> list[tuple[int, str]]:
        """Hide visible rows until django-q2 delivers them again; return ids and payloads."""
        now = timezone.now()
        with self._cursor() as cursor:
            cursor.execute(PULL, [self.list_key, now, Conf.BULK, self.timeout(None)])
            return list(cursor.fetchall())

    def _wait(self) -> bool:
        """Wait for at most a poll; return whether rows may be visible then."""
        self._ear().listen()
        # Asked after LISTEN: a row that was committed before it notified nobody here.
        seconds = self._seconds_until_visible()
        if seconds <= 0:
            if self._saw_locked_rows:
                self._ear().wait(min(LOCKED, Conf.POLL))
            self._saw_locked_rows = True
            return True
        self._saw_locked_rows = False
        return self._ear().wait(min(seconds, Conf.POLL)) or seconds <= Conf.POLL

    def _seconds_until_visible(self) -> float:
        with self._cursor() as cursor:
            cursor.execute(NEXT, [self.list_key])
            [lock] = cursor.fetchone()
        return math.inf if lock is None else float((lock - timezone.now()).total_seconds())

    def _cursor(self) -> Any:
        # Closes a stale connection before.
        return connections[self.get_connection().db].cursor()

    def _ear(self) -> Listener:
        if self._listener is None:
            self._listener = Listener(alias(), channel(self.list_key))
        return self._listener


def listens(key: str) -> bool:
    """Whether the cluster with this key is notified of its rows."""
    return is_listening_broker(clusters.broker_path_of(key)) and is_possible()


def is_possible() -> bool:
    """Whether the database sends notifications."""
    return connections[alias()].vendor == "postgresql"


@cache
def is_listening_broker(path: str) -> bool:
    """Whether a dotted path leads to this broker or to a subclass."""
    try:
        broker = import_string(path)
    except ImportError:
        return False
    return isinstance(broker, type) and issubclass(broker, ListeningBroker)


def channel_for(key: str, at: datetime) -> str:
    """Return the channel to notify of a row that is visible from ``at``, by host time.

    "" if the cluster does not listen, or polls once more before that moment.
    """
    if not listens(key):
        return ""
    next_poll = timezone.now() + timedelta(seconds=clusters.poll_of(key))
    return channel(key) if at <= next_poll else ""


@cache
def channel(key: str) -> str:
    """Return the name of a cluster's channel: PostgreSQL takes 63 bytes, a key has any letters."""
    return f"retrytasks_{blake2b(key.encode(), digest_size=16).hexdigest()}"


@cache
def _warn_of(database: str) -> None:
    words = "ListeningBroker needs PostgreSQL. On %s it polls, as django-q2's own broker does"
    logger.warning(words, database)
