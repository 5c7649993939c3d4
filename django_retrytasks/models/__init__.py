"""The rows: Tasks, Attempts, FailureGroups, and the operations and pauses of operators."""

from .attempts import Attempt
from .failure_groups import FailureGroup, FailureGroupQuerySet
from .fields import CodecField, Encoded, MomentField, Unreadable
from .operators import Operation, Pause, Tally
from .tasks import FINAL, PARKED, SEARCH_KEY_LENGTH, UNFINISHED, Status, Task, TaskQuerySet

__all__ = [
    "FINAL",
    "PARKED",
    "SEARCH_KEY_LENGTH",
    "UNFINISHED",
    "Attempt",
    "CodecField",
    "Encoded",
    "FailureGroup",
    "FailureGroupQuerySet",
    "MomentField",
    "Operation",
    "Pause",
    "Status",
    "Tally",
    "Task",
    "TaskQuerySet",
    "Unreadable",
]
