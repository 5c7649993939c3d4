"""Enqueue: store new Tasks and their wake-ups."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import Task

from .log import log_all
from .rows import CHUNK
from .waking import wake_for


def enqueue(tasks: Sequence[Task], *, is_repeated: bool = False) -> None:
    """Store new Tasks and their wake-ups, in the caller's transaction.

    Afterwards the moments of these objects are expressions of the database's time. Read the rows
    again to get values.

    Args:
        tasks: unsaved rows; a ``run_after`` of None means at once.
        is_repeated: whether to skip Tasks with a stored id.
    """
    with writing():
        for start in range(0, len(tasks), CHUNK):
            _store(tasks[start : start + CHUNK], is_repeated)
    log_all(logging.DEBUG, "enqueued", tasks)


def _store(tasks: Sequence[Task], is_repeated: bool) -> None:
    at_once = wakeups.now()
    wake_for([(task, _wake(task.run_after) if task.run_after else at_once) for task in tasks])
    for task in tasks:
        task.enqueued_at = DatabaseNow()
        task.queued_at = task.run_after = task.run_after or DatabaseNow()
    Task.objects.bulk_create(tasks, ignore_conflicts=is_repeated)


def _wake(run_after: datetime) -> wakeups.Wake:
    return wakeups.Wake(run_after, run_after)
