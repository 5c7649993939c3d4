"""Failures, and the decisions that a policy takes on them."""

from datetime import UTC, datetime
from typing import Any

from django_retrytasks import RetryPolicy
from django_retrytasks.policy import Decision, Failure, FailureKind, StopReason

NOW = datetime(2030, 5, 17, 12, 0, tzinfo=UTC)
YEAR = 31_622_400  # 366 days


def half() -> float:
    return 0.5


def raised(
    exception: BaseException | None = None,
    *,
    kind: FailureKind = FailureKind.RAISED,
    retry_count: int = 0,
    **details: Any,
) -> Failure:
    return Failure(
        exception=exception or ConnectionError("refused"),
        kind=kind,
        retry_count=retry_count,
        **details,
    )


def decide(policy: RetryPolicy, failure: Failure) -> Decision:
    return policy.decide(failure, now=NOW, random=half)


def stop(stop_reason: StopReason, reason: str) -> Decision:
    return Decision(countdown=None, stop_reason=stop_reason, reason=reason)


def retry(countdown: float, reason: str) -> Decision:
    return Decision(countdown=countdown, stop_reason=None, reason=reason)


class RateLimited(Exception):
    def __init__(self, retry_after: object) -> None:
        self.retry_after = retry_after
