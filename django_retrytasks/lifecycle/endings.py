"""The ending of an attempt: first decided, then written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from functools import cached_property
from typing import Any

from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Encoded, Status, Task
from django_retrytasks.policy import Decision
from django_retrytasks.values.contract import Task as ContractTask

from .groups import Failed


class Meaning(Enum):
    """What the ending of an attempt means for a breaker."""

    # It completes a row of failures, or asks to leave the service alone: the breaker opens.
    OPENS = auto()
    # The probe has succeeded, or a Task that a closing breaker let through.
    PASSES = auto()
    # The probe has failed: the next one comes later.
    FAILS = auto()
    # The probe has ended otherwise, which says nothing: the next one comes at once.
    SKIPS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """The meaning of an attempt's ending for the breaker of its Task's key.

    Attributes:
        meaning: what it means.
        wait: seconds until the next probe.
        probe_every: seconds between two probes.
        reason: why it opens, in words.
        is_uncharged: whether the attempt spends no retry.
    """

    meaning: Meaning
    wait: float = 0.0
    probe_every: float = 0.0
    reason: str = ""
    exception_class_path: str = ""
    is_uncharged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one attempt ended, and the decision that follows; not written yet.

    ``definition`` is the function's task, for the signals; None where this worker lacks the code.
    ``exception`` is for receivers. ``raised`` is the exception itself, whose message may be
    unavailable.
    ``sign`` is what it means for the breaker of its Task; None: nothing.
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
    raised: BaseException | None = None
    return_value: Encoded | None = None
    sign: Sign | None = None

    @property
    def is_uncharged(self) -> bool:
        """Whether the attempt spends no retry."""
        snoozed = self.outcome == Attempt.Outcome.SNOOZED
        return snoozed or bool(self.sign and self.sign.is_uncharged)

    @property
    def opens_breaker(self) -> bool:
        """Whether it opens the breaker of its Task."""
        return self.sign is not None and self.sign.meaning is Meaning.OPENS

    @property
    def status(self) -> Status:
        """Return the status of the Task after this ending."""
        if self.is_uncharged:
            return self.task.waiting_status
        match self.outcome:
            case Attempt.Outcome.SUCCEEDED:
                return Status.SUCCEEDED
            case Attempt.Outcome.DISCARDED | Attempt.Outcome.CANCELLED:
                return Status.DISCARDED
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
