"""Enqueue: store new Tasks and their wake-ups."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from operator import attrgetter

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writes, writing
from django_retrytasks.database.columns import Row
from django_retrytasks.database.schema import advising_to_migrate
from django_retrytasks.models import Task

from .log import log_all
from .rows import CHUNK, fields_of
from .unique import Held, again_after_deadlocks, take_keys
from .waking import Waiting, wake_for, wakes_clusters, wakes_for


def enqueue(tasks: Iterable[Task], *, is_repeated: bool = False) -> Held:
    """Store new Tasks and their wake-ups, all or none, in the caller's transaction.

    A unique Task is not stored while another Task holds its key. Afterwards the moments of these
    objects are expressions of the database's time. Read the rows again to get values.

    Args:
        tasks: unsaved rows, of which all are unique or none; a ``run_after`` of None means at once.
            Tasks of an iterator are made and stored by the thousand, and not logged.
        is_repeated: whether to skip Tasks with a stored id.

    Returns:
        The holder of the key, by the id of each Task that was not stored; {} for an iterator.

    Raises:
        OperationalError: as :func:`unique.take_keys`.
    """
    if not isinstance(tasks, Sequence):
        # It may fail late, since it makes and checks each Task when it is asked for.
        with writing(savepoint=True, reads=True):
            for some in _chunks(tasks):
                _store(some, is_repeated)
        return {}
    if len(tasks) == 1 and not is_repeated and wakes_clusters() and writes.takes_parents():
        with advising_to_migrate():
            held = _store_one(tasks[0])
    else:
        held = _store_all(tasks, is_repeated)
    log_all(logging.DEBUG, "enqueued", [task for task in tasks if task.pk not in held])
    return held


def _store_one(task: Task) -> Held:
    """Store a Task and its wake-up by one statement, which needs no transaction of its own."""
    if task.unique_key:
        return take_keys([task], lambda _: _insert_one(task, skips=True))
    _insert_one(task)
    return {}


def _insert_one(task: Task, *, skips: bool = False) -> int:
    wakes = wakes_for(_waiting([task]))
    [row] = _rows([task])
    for key, [(_, wake)] in wakes.items():
        parent = wakeups.parent(key, wake, link="wakeup_id")
        return writes.insert_with_parent(Task, row, parent, ignore_conflicts=skips)
    return writes.insert_new(Task, [row])


def _store_all(tasks: Sequence[Task], is_repeated: bool) -> Held:
    if tasks and tasks[0].unique_key:
        return again_after_deadlocks(partial(_store_unique, tasks))
    with writing():
        for some in _chunks(tasks):
            _store(some, is_repeated)
    return {}


def _store_unique(tasks: Sequence[Task]) -> Held:
    held: Held = {}
    with writing(reads=True):
        for some in _chunks(sorted(tasks, key=attrgetter("unique_key"))):
            held |= take_keys(some, _insert_new)
    return held


def _chunks(tasks: Iterable[Task]) -> Iterator[Sequence[Task]]:
    coming = iter(tasks)
    while some := list(islice(coming, CHUNK)):
        yield some


def _store(tasks: Sequence[Task], is_repeated: bool) -> None:
    if tasks[0].unique_key:
        take_keys(tasks, _insert_new)
    elif is_repeated:
        _insert_new(tasks)
    else:
        wake_for(_waiting(tasks))
        writes.insert(Task, _rows(tasks))


def _insert_new(tasks: Sequence[Task]) -> int:
    wake_for(_waiting(tasks))
    return writes.insert_new(Task, _rows(tasks))


def _waiting(tasks: Sequence[Task]) -> list[Waiting]:
    at_once = wakeups.now()
    return [(task, _wake(task.run_after) or at_once) for task in tasks]


def _wake(run_after: object) -> wakeups.Wake | None:
    """Return a later wake; None: at once, as after a first try the database's time says."""
    return wakeups.Wake(run_after, run_after) if isinstance(run_after, datetime) else None


def _rows(tasks: Sequence[Task]) -> list[Row]:
    now = DatabaseNow()
    for task in tasks:
        task.enqueued_at = now
        task.queued_at = task.run_after = task.run_after or now
    return [fields_of(task) for task in tasks]
