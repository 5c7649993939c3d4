"""A stored Task's definition, found by its dotted path."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.utils.module_loading import import_string

from django_retrytasks.exceptions import NotATask, NotImportable, RetryTasksError
from django_retrytasks.models import Task
from django_retrytasks.values.contract import Task as ContractTask

from .definition import RetryTask, as_retry_task


def resolve(name: str) -> RetryTask[..., Any]:
    """Return the task at a dotted path.

    Raises:
        NotImportable: its module is gone, does not import, or lacks the name.
        NotATask: something else than a task stands there.
    """
    try:
        found = import_string(name)
    except (Exception, SystemExit) as error:
        raise NotImportable(name) from error
    if not isinstance(found, ContractTask):
        raise NotATask(name, found)
    return as_retry_task(found)


def resolve_stored(row: Task) -> RetryTask[..., Any]:
    """Return the task of a stored Task, with the backend, queue and priority it was stored with.

    Raises:
        NotImportable, NotATask: as :func:`resolve`.
    """
    return as_stored(resolve(row.name), row)


def as_stored(definition: RetryTask[..., Any], row: Task) -> RetryTask[..., Any]:
    """Return a task with the backend, queue, priority and options that a Task was stored with."""
    return definition.as_stored(
        backend=row.backend,
        queue_name=row.queue_name,
        priority=row.priority,
        call_options=row.options,
    )


def imported(name: str) -> RetryTask[..., Any] | None:
    """Return the task at a dotted path, None where there is none. For workers: it imports it."""
    with suppress(RetryTasksError):
        return resolve(name)
    return None
