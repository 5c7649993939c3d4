"""The input and the output of a policy: a failure and a decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from django.db.models.enums import TextChoices
from django.utils.translation import gettext_lazy as _

from django_retrytasks.exceptions import Retry

Random = Callable[[], float]


class StopReason(TextChoices):
    """Why a Task is not retried."""

    # Set by the policy: max_retries were spent, the last on an exception or a timeout.
    MAX_RETRIES = "MAX_RETRIES", _("max_retries reached")
    # Set by the policy: the next retry would begin later than retry_for after the first start.
    RETRY_FOR = "RETRY_FOR", _("retry_for would be exceeded")
    # Set by the policy: the exception is not in retry_on, or is in no_retry_on.
    NOT_RETRYABLE = "NOT_RETRYABLE", _("exception not retryable")
    # Set by the policy: its callable backoff returned None.
    BACKOFF = "BACKOFF", _("stopped by backoff")
    # Set by the policy: a lost worker was the last of max_crashes, or no retry was left after it.
    CRASHED = "CRASHED", _("worker lost too often")
    # Set by the policy: the function could not be imported and no retry was left.
    NOT_IMPORTABLE = "NOT_IMPORTABLE", _("function not importable")
    # Set by the policy: the codec cannot store the return value.
    NOT_STORABLE = "NOT_STORABLE", _("return value not storable")
    # Set when a Discard is settled, and by an operator's discard.
    DISCARDED = "DISCARDED", _("discarded")
    # Set by the claim that finds a Task past its expires_at, without an attempt.
    EXPIRED = "EXPIRED", _("expired")
    # Set by an operator's cancel.
    CANCELLED = "CANCELLED", _("cancelled")


class FailureKind(Enum):
    """How an attempt failed."""

    RAISED = auto()
    TIMED_OUT = auto()
    LOST = auto()
    NOT_IMPORTABLE = auto()
    NOT_STORABLE = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A failed attempt, as input of a policy.

    Attributes:
        exception: the raised exception; for an explicit Retry its `cause`.
        kind: how the attempt failed.
        retry_count: retries spent before this failure; 0 at the first attempt.
        crash_count: attempts lost so far, including this one.
        elapsed: seconds since the Task's first start.
        retry: the explicit Retry; None: the function raised another exception.
    """

    exception: BaseException
    kind: FailureKind
    retry_count: int
    crash_count: int = 0
    elapsed: float = 0.0
    retry: Retry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What follows a failure: a retry, or the end.

    Attributes:
        countdown: seconds to wait before the retry; None: no retry.
        stop_reason: why no retry follows; None: a retry follows.
        reason: the decision in words, for the Attempt's history.
    """

    countdown: float | None
    stop_reason: StopReason | None
    reason: str

    @property
    def retries(self) -> bool:
        """Whether a retry follows."""
        return self.countdown is not None
