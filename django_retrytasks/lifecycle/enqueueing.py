"""Enqueue: store new Tasks and their wake-ups."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import islice

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writes, writing
from django_retrytasks.database.schema import advising_to_migrate
from django_retrytasks.models import Task

from .log import log_all
from .rows import CHUNK, fields_of
from .waking import Waiting, wake_for, wakes_clusters, wakes_for


def enqueue(tasks: Iterable[Task], *, is_repeated: bool = False) -> None:
    """Store new Tasks and their wake-ups, all or none, in the caller's transaction.

    Afterwards the moments of these objects are expressions of the database's time. Read the rows
    again to get values.

    Args:
        tasks: unsaved rows; a ``run_after`` of None means at once. Tasks of an iterator are made
            and stored by the thousand, and not logged.
        is_repeated: whether to skip Tasks with a stored id.
    """
    if not isinstance(tasks, Sequence):
        # It may fail late, since it makes and checks each Task when it is asked for.
        with writing(savepoint=True):
            _store_all(tasks, is_repeated)
        return
    if len(tasks) == 1 and not is_repeated and wakes_clusters() and writes.takes_parents():
        with advising_to_migrate():
            _store_one(tasks[0])
    else:
        with writing():
            _store_all(tasks, is_repeated)
    log_all(logging.DEBUG, "enqueued", tasks)


def _store_all(tasks: Iterable[Task], is_repeated: bool) -> None:
    coming = iter(tasks)
    while some := list(islice(coming, CHUNK)):
        _store(some, is_repeated)


def _store_one(task: Task) -> None:
    """Store a Task and its wake-up by one statement, which needs no transaction of its own."""
    wakes = wakes_for(_waiting([task]))
    [row] = _rows([task])
    if not wakes:
        writes.insert(Task, [row])
    for key, [(_, wake)] in wakes.items():
        writes.insert_with_parent(Task, row, wakeups.parent(key, wake, link="wakeup_id"))


def _store(tasks: Sequence[Task], is_repeated: bool) -> None:
    wake_for(_waiting(tasks))
    writes.insert(Task, _rows(tasks), ignore_conflicts=is_repeated)


def _waiting(tasks: Sequence[Task]) -> list[Waiting]:
    at_once = wakeups.now()
    return [(task, _wake(task.run_after) if task.run_after else at_once) for task in tasks]


def _wake(run_after: datetime) -> wakeups.Wake:
    return wakeups.Wake(run_after, run_after)


def _rows(tasks: Sequence[Task]) -> list[writes.Row]:
    now = DatabaseNow()
    for task in tasks:
        task.enqueued_at = now
        task.queued_at = task.run_after = task.run_after or now
    return [fields_of(task) for task in tasks]
