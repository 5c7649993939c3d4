"""The admin of Tasks, attempts, failure groups, operations, pauses, breakers, periodic Tasks
and workers.

A site with its own admin site registers the classes there: ``site.register(Task, TaskAdmin)`` and
``site.register(FailureGroup, FailureGroupAdmin)``.
"""

from .breakers import BreakerAdmin
from .clusters import WorkerAdmin
from .groups import FailureGroupAdmin
from .operations import OperationAdmin
from .pauses import PauseAdmin
from .periodic import PeriodicTaskAdmin
from .tasks import TaskAdmin

__all__ = [
    "BreakerAdmin",
    "FailureGroupAdmin",
    "OperationAdmin",
    "PauseAdmin",
    "PeriodicTaskAdmin",
    "TaskAdmin",
    "WorkerAdmin",
]
