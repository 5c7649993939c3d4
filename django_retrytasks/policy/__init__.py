"""The rule that decides what follows a failure: a retry at a time, or a stop with a reason."""

from .breaker import Breaker, as_breaker
from .decisions import Decision, Failure, FailureKind, StopReason
from .options import Backoff, PolicyOptions
from .retry_after import retry_after_seconds
from .retry_policy import RetryPolicy, policy_options

__all__ = [
    "Backoff",
    "Breaker",
    "Decision",
    "Failure",
    "FailureKind",
    "PolicyOptions",
    "RetryPolicy",
    "StopReason",
    "as_breaker",
    "policy_options",
    "retry_after_seconds",
]
