"""The known queues and functions, for an operator who names one."""

from __future__ import annotations

from itertools import starmap

from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.broker import clusters
from django_retrytasks.database import exactly
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import lanes
from django_retrytasks.models import Task
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.discovery import defined_tasks
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.contract import DEFAULT_TASK_QUEUE_NAME, task_backends

# Limit of the queues that are looked up from Tasks.
QUEUES_SHOWN = 50


def allowed_queues() -> set[str]:
    """Return the queues that ``TASKS`` names; none if a backend of ours accepts any queue."""
    backends = (b for b in task_backends.all() if isinstance(b, RetryTasksBackend))
    ours = [backend.queues for backend in backends]
    return set().union(*ours) if all(ours) else set()


def queues_in_use() -> list[str]:
    """Return the queues that hold Tasks, and the queues that ``TASKS`` names."""
    return sorted({*lanes.queue_names(QUEUES_SHOWN), *allowed_queues()})


def known_queues() -> list[str]:
    """Return the queues in use, of the site's tasks and of ``ALT_CLUSTERS``."""
    discovery.discover()
    of_tasks = {task.queue_name for task in defined_tasks()}
    of_clusters = clusters.keys()[1:]
    return sorted({DEFAULT_TASK_QUEUE_NAME, *queues_in_use(), *of_tasks, *of_clusters})


def has_queue(name: str) -> bool:
    """Whether a queue is known or holds a Task."""
    return name in known_queues() or has_tasks(queue_name=name)


def has_function(path: str) -> bool:
    """Whether a dotted path leads to a task or is the name of a stored Task."""
    if path in discovery.own_names() or has_tasks(name=path):
        return True
    try:
        resolve(path)
    except RetryTasksError:
        return False
    return True


def has_tasks(**fields: str) -> bool:
    """Whether a Task with this ``queue_name`` or ``name`` is stored."""
    return bool(Task.objects.filter(*starmap(exactly, fields.items())).exists())
