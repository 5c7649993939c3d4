"""How an attempt ended: decided, and then written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Encoded, Status, Task
from django_retrytasks.policy import Decision
from django_retrytasks.values.contract import Task as ContractTask

from .groups import Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one attempt ended and what follows it: decided, not yet written.

    ``definition`` is the function's task, for whoever tells of the ending; None where this worker
    lacks it.
    """

    task: Task
    outcome: Attempt.Outcome
    decision: Decision
    started_at: datetime
    finished_at: datetime
    worker: str
    definition: ContractTask[..., Any] | None = None
    error: ErrorReport | None = None
    exception: BaseException | None = None
    return_value: Encoded | None = None

    @property
    def status(self) -> Status:
        """Return the status the Task has once this is written."""
        match self.outcome:
            case Attempt.Outcome.SUCCEEDED:
                return Status.SUCCEEDED
            case Attempt.Outcome.DISCARDED:
                return Status.DISCARDED
            case Attempt.Outcome.SNOOZED:
                return self.task.waiting_status
        return Status.RETRYING if self.decision.retries else Status.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An ending that was written: the Task's new values, its Attempt row, and its failure."""

    ending: Ending
    values: dict[str, Any]
    attempt: Attempt = field(compare=False)
    failed: Failed | None
