"""Find the definition of a stored Task by its dotted path."""

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
        NotImportable: the module is gone, does not import, or lacks the name.
        NotATask: the path leads to another object.
    """
    try:
        target = import_string(name)
    except (Exception, SystemExit) as error:
        raise NotImportable(name) from error
    if not isinstance(target, ContractTask):
        raise NotATask(name, target)
    return as_retry_task(target)


def resolve_stored(row: Task) -> RetryTask[..., Any]:
    """Return the definition of a stored Task, with the stored backend, queue and priority.

    Raises:
        NotImportable, NotATask: as :func:`resolve`.
    """
    return as_stored(resolve(row.name), row)


def as_stored(definition: RetryTask[..., Any], row: Task) -> RetryTask[..., Any]:
    """Return a definition with a Task's stored backend, queue, priority and options."""
    return definition.as_stored(
        backend=row.backend,
        queue_name=row.queue_name,
        priority=row.priority,
        call_options=row.options,
    )


def imported(name: str) -> RetryTask[..., Any] | None:
    """Import and return the task at a dotted path; None if there is none. For workers."""
    with suppress(RetryTasksError):
        return resolve(name)
    return None
