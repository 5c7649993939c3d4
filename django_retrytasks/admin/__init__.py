"""The admin of Tasks, attempts, failure groups, operations and pauses.

A site with its own admin site registers the classes there: ``site.register(Task, TaskAdmin)`` and
``site.register(FailureGroup, FailureGroupAdmin)``.
"""

from .groups import FailureGroupAdmin
from .operations import OperationAdmin
from .pauses import PauseAdmin
from .tasks import TaskAdmin

__all__ = [
    "FailureGroupAdmin",
    "OperationAdmin",
    "PauseAdmin",
    "TaskAdmin",
]
