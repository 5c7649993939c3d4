"""Run periodic Tasks: at their moments, and when an operator asks for it."""

from __future__ import annotations

import logging
import uuid
from datetime import datetime
from typing import Any

from django_retrytasks.backend import telling_afterwards
from django_retrytasks.database import writing
from django_retrytasks.exceptions import NotImportable
from django_retrytasks.lifecycle import periodic
from django_retrytasks.lifecycle.internal import POLICY
from django_retrytasks.models import PeriodicTask
from django_retrytasks.tasks import RetryTask, discovery, retry_task
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.tasks.storing import StoringBackend

logger = logging.getLogger("django_retrytasks")


@retry_task(**POLICY)
def run_moment(pk: str, moment: datetime) -> str | None:
    """Enqueue the Task of a moment, and return its id; None: nothing is to be enqueued.

    A second run, after a crash, enqueues nothing.
    """
    with telling_afterwards(), writing():
        row = periodic.begin(uuid.UUID(pk), moment)
        if row is None:
            return None
        try:
            return str(_enqueue(row, resolve(row.task_name)).id)
        except Exception as error:
            logger.error("The periodic task %s could not be enqueued: %s", row, error)
            raise


def run_now(row: PeriodicTask) -> Any:
    """Enqueue a periodic Task now, besides its moments; return the result.

    Raises:
        NotImportable: the tasks modules of the installed apps lack its function.
        InvalidTask, TypeError: the function does not take its arguments.
    """
    task = discovery.find(row.task_name)
    if task is None:
        raise NotImportable(row.task_name)
    with telling_afterwards(), writing():
        return _enqueue(row, task)


def _enqueue(row: PeriodicTask, task: RetryTask[..., Any]) -> Any:
    result = task.enqueue(*row.args, **row.kwargs)
    is_stored = isinstance(task.get_backend(), StoringBackend)
    periodic.note_task(row.pk, uuid.UUID(result.id) if is_stored else None)
    return result
