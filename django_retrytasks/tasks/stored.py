"""Find the definition and the policy of a stored Task."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.utils.module_loading import import_string

from django_retrytasks.exceptions import NotATask, NotImportable, RetryTasksError
from django_retrytasks.models import Task
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.values.contract import Task as ContractTask

from .definition import RetryTask, as_retry_task, site_policy


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


def policy_of(task: Task, definition: RetryTask[..., Any] | None) -> RetryPolicy:
    """Return the policy of a stored Task: options of the call over options of the definition.

    Without a definition, because its code is gone, the site's policy applies. ``max_retries`` is
    always the Task's own.

    Raises:
        TypeError, ValueError: options that are no longer valid.
    """
    policy = definition.policy if definition else site_policy().replace(**task.options)
    if policy.max_retries == task.max_retries:
        return policy
    return policy.replace(max_retries=task.max_retries)
