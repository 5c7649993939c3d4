"""Prune: delete finished Tasks past their retention, with their Attempts, and failure groups."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db import connections

from django_retrytasks import conf, database
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import FINAL, Attempt, Status, Task, TaskQuerySet

from . import groups
from .internal import INTERNAL_RETENTION
from .rows import CHUNK

# Seconds until one prune stops.
PRUNE_SECONDS = 10.0


class Old(NamedTuple):
    """Finished Tasks past their retention."""

    status: Status
    internal: bool
    kept: timedelta

    @property
    def tasks(self) -> TaskQuerySet:
        """Return the Tasks."""
        return Task.objects.all().finished_before(self.status, self.kept, internal=self.internal)

    def sql(self) -> str:
        """Return SQL for 1 if there may be such a Task, by a seek in an index; else no row."""
        before = DatabaseNow(-self.kept).sql_on(connections[database.alias()])
        return (
            f"SELECT 1 FROM {Task._meta.db_table} WHERE internal = {str(self.internal).upper()}"  # noqa: S608
            f" AND status = '{self.status}' AND finished_at < {before} LIMIT 1"
        )


def old() -> list[Old]:
    """Return the Tasks past their retention: the internal ones, then the site's, by status."""
    found = [Old(status, True, INTERNAL_RETENTION) for status in FINAL]
    for status in FINAL:
        if (seconds := conf.get().retention(status)) is not None:
            found.append(Old(status, False, timedelta(seconds=seconds)))
    return found


def prune() -> int:
    """Delete finished Tasks past their retention, with their Attempts; return how many.

    It deletes in short transactions, for about ten seconds. The next sweep continues.
    """
    until = time.monotonic() + PRUNE_SECONDS
    if (kept := group_retention()) is not None:
        groups.prune(kept)
    return sum(sum(deleting(each.tasks, until)) for each in _not_empty(old()))


def _not_empty(found: Sequence[Old]) -> list[Old]:
    """Return the ones that may have Tasks; one query tells, and mostly there are none."""
    some = (f"SELECT {n} FROM ({each.sql()}) old{n}" for n, each in enumerate(found))  # noqa: S608
    with connections[database.alias()].cursor() as cursor:
        cursor.execute(" UNION ALL ".join(some), [])
        return [found[n] for (n,) in cursor.fetchall()]


def group_retention() -> timedelta | None:
    """Return how long failure groups are kept after their last failure; None: for ever."""
    seconds = conf.get().retention(Status.FAILED)
    return None if seconds is None else timedelta(seconds=seconds)


def deleting(tasks: TaskQuerySet, until: float = math.inf) -> Iterator[int]:
    """Delete Tasks in short transactions; yield how many each deleted.

    Args:
        tasks: which ones.
        until: the moment of the monotonic clock after which no more are deleted.
    """
    count = CHUNK
    while count == CHUNK:
        count = _delete_chunk(tasks)
        yield count
        if time.monotonic() >= until:
            return


def _delete_chunk(tasks: TaskQuerySet) -> int:
    # Read first, then locked by key: MariaDB locks every row it walks over, here in the order of
    # another index than a settle's, which would be a deadlock.
    pks = list(tasks.values_list("pk", flat=True)[:CHUNK])
    if not pks:
        return 0
    with writing():
        ids = locked_ids(tasks, pks)
        delete(ids)
    return len(ids)


def locked_ids(tasks: TaskQuerySet, pks: Sequence[uuid.UUID]) -> list[uuid.UUID]:
    """Lock these rows in the caller's transaction; return which are still among the Tasks."""
    rows = tasks.filter(pk__in=pks).select_for_update().order_by("pk")
    return list(rows.values_list("pk", flat=True))


def delete(ids: Sequence[uuid.UUID]) -> int:
    """Delete locked Tasks with their Attempts, in the caller's transaction.

    Return the number of Attempts.
    """
    attempts = Attempt.objects.filter(task__in=ids)
    count = attempts._raw_delete(attempts.db)
    doomed = Task.objects.filter(pk__in=ids)
    doomed._raw_delete(doomed.db)
    return int(count or 0)
