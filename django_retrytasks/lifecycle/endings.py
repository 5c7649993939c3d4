"""The ending of an attempt: first decided, then written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Encoded, Status, Task
from django_retrytasks.policy import Decision
from django_retrytasks.values.contract import Task as ContractTask

from .groups import Failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one attempt ended, and the decision that follows; not written yet.

    ``definition`` is the function's task, for the signals; None where this worker lacks the code.
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
        """Return the status of the Task after this ending."""
        match self.outcome:
            case Attempt.Outcome.SUCCEEDED:
                return Status.SUCCEEDED
            case Attempt.Outcome.DISCARDED:
                return Status.DISCARDED
            case Attempt.Outcome.SNOOZED:
                return self.task.waiting_status
        return Status.RETRYING if self.decision.retries else Status.FAILED


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A written ending: the Task's new values, the Attempt's row, and its failure."""

    ending: Ending
    values: dict[str, Any]
    row: dict[str, Any]
    failed: Failed | None

    @cached_property
    def attempt(self) -> Attempt:
        """Return the Attempt. It is made only if somebody hears of the ending: it costs time."""
        return Attempt(**self.row)
