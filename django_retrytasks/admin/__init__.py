"""Tasks, their attempts and failure groups in the admin.

A site with an admin of its own registers them there: ``site.register(Task, TaskAdmin)`` and
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
