"""The queues and the functions that there are, for an operator who names one."""

from __future__ import annotations

from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.broker import clusters
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import lanes
from django_retrytasks.models import Task
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.discovery import defined_tasks
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.contract import DEFAULT_TASK_QUEUE_NAME, task_backends

# How many of the queues that hold Tasks are looked up.
QUEUES_SHOWN = 50


def allowed_queues() -> set[str]:
    """Return the queues that ``TASKS`` names; none where a backend of ours takes any."""
    ours = [of.queues for of in task_backends.all() if isinstance(of, RetryTasksBackend)]
    return set().union(*ours) if all(ours) else set()


def queues_in_use() -> list[str]:
    """Return queues that hold Tasks, and those that ``TASKS`` names."""
    return sorted({*lanes.queue_names(QUEUES_SHOWN), *allowed_queues()})


def known_queues() -> list[str]:
    """Return queues in use, those of the site's tasks and those with a cluster of their own."""
    discovery.discover()
    of_tasks = {task.queue_name for task in defined_tasks()}
    of_clusters = clusters.keys()[1:]
    return sorted({DEFAULT_TASK_QUEUE_NAME, *queues_in_use(), *of_tasks, *of_clusters})


def has_queue(name: str) -> bool:
    """Tell whether a queue is known, or holds a Task."""
    return name in known_queues() or has_tasks(queue_name=name)


def has_function(path: str) -> bool:
    """Tell whether a dotted path leads to a task, or Tasks are stored under it."""
    if path in discovery.own_names() or has_tasks(name=path):
        return True
    try:
        resolve(path)
    except RetryTasksError:
        return False
    return True


def has_tasks(**fields: str) -> bool:
    """Tell whether a Task is stored of this ``queue_name``, or of this ``name``."""
    return bool(Task.objects.filter(**fields).exists())
