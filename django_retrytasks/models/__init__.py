"""The rows: Tasks, Attempts, FailureGroups, PeriodicTasks, workers, operations and pauses."""

from .attempts import Attempt
from .breakers import BreakerKey, OpenBreaker, fingerprint_of
from .failure_groups import FailureGroup, FailureGroupQuerySet
from .fields import CodecField, Encoded, MomentField, Unreadable
from .operators import Operation, Pause, Tally
from .periodic import PeriodicTask, periodic_id
from .statuses import FINAL, UNFINISHED, Status
from .tasks import (
    BREAKER_KEY_LENGTH,
    NAME_LENGTH,
    QUEUE_NAME_LENGTH,
    SEARCH_KEY_LENGTH,
    Task,
    TaskQuerySet,
)
from .workers import Worker

__all__ = [
    "BREAKER_KEY_LENGTH",
    "FINAL",
    "NAME_LENGTH",
    "QUEUE_NAME_LENGTH",
    "SEARCH_KEY_LENGTH",
    "UNFINISHED",
    "Attempt",
    "BreakerKey",
    "CodecField",
    "Encoded",
    "FailureGroup",
    "FailureGroupQuerySet",
    "MomentField",
    "OpenBreaker",
    "Operation",
    "Pause",
    "PeriodicTask",
    "Status",
    "Tally",
    "Task",
    "TaskQuerySet",
    "Unreadable",
    "Worker",
    "fingerprint_of",
    "periodic_id",
]
