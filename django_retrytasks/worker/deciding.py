"""Decide what follows an attempt, and return it as the attempt's ending."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from inspect import BoundArguments
from typing import Any

from django_retrytasks.broker import clusters
from django_retrytasks.errors.causes import is_a, leaves
from django_retrytasks.errors.reports import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    ErrorReport,
    bare_report,
    class_path,
    report,
    storable,
)
from django_retrytasks.exceptions import (
    AttemptTimedOut,
    Discard,
    MessageUnavailable,
    ResultNotStorable,
    Retry,
    Snooze,
    WorkerLost,
)
from django_retrytasks.lifecycle import Ending
from django_retrytasks.models import Attempt, Encoded, Task
from django_retrytasks.policy import Decision, Failure, FailureKind, RetryPolicy, StopReason
from django_retrytasks.policy.steering import steering_of
from django_retrytasks.tasks import RetryTask
from django_retrytasks.tasks.redaction import secrets_of, without
from django_retrytasks.tasks.results import failed_result_of
from django_retrytasks.tasks.stored import policy_of
from django_retrytasks.values import codec, moments
from django_retrytasks.values.checked import as_seconds

from .timeouts import briefly_or, call_briefly

logger = logging.getLogger("django_retrytasks")

# The frames of this directory say nothing about a failure.
HERE = os.path.dirname(__file__)
LARGEST_RESULT = 1024 * 1024
OUTCOMES = {
    FailureKind.TIMED_OUT: Attempt.Outcome.TIMED_OUT,
    FailureKind.LOST: Attempt.Outcome.LOST,
}
SUCCEEDED = Decision(countdown=None, stop_reason=None, reason="succeeded")

# A function may seed the module's generator, which would fix the jitter of its retries.
_random = random.SystemRandom().random


class Decider:
    """Decides the ending of one attempt; writes nothing.

    Args:
        task: the Task, under a claim.
        now: the database's time.
        let_go: frees what the attempt holds, before the policy's own code runs.

    Attributes:
        started_at: when the attempt began.
        definition: the task's definition; None: this worker lacks its code, or has not looked yet.
        bound: the Task's arguments, bound to the function's signature; None: as ``definition``.
    """

    def __init__(self, task: Task, now: Callable[[], datetime], let_go: Callable[[], None]) -> None:
        self.task = task
        self.started_at = now()
        self.definition: RetryTask[..., Any] | None = None
        self.bound: BoundArguments | None = None
        self._now = now
        self._let_go = let_go

    def succeeded(self, value: Any) -> Ending:
        """Return the ending for the function's value; a failure if it cannot be stored."""
        try:
            return_value = _encoded(self.task.name, value)
        except ResultNotStorable as error:
            return self.failed(error, FailureKind.NOT_STORABLE)
        return self._ending(Attempt.Outcome.SUCCEEDED, SUCCEEDED, return_value=return_value)

    def raised(self, error: BaseException) -> Ending:
        """Return the ending for an exception of the function, which may steer its Task."""
        if self.task.is_cancelled:
            return self._cancelled(error)
        steering = steering_of(error)
        if steering is None:
            return self._failed_by(error)
        if isinstance(steering, Retry):
            return self._failed_by(steering.cause, steering)
        if isinstance(steering, Snooze):
            return self._snoozed(steering)
        return self._discarded(steering)

    def _failed_by(self, cause: BaseException, retry: Retry | None = None) -> Ending:
        timed_out = any(is_a(leaf, AttemptTimedOut) for leaf in leaves(cause))
        kind = FailureKind.TIMED_OUT if timed_out else FailureKind.RAISED
        return self.failed(cause, kind, retry)

    def _cancelled(self, error: BaseException) -> Ending:
        reason, stop_reason = self.task.stop_note, StopReason.CANCELLED
        decision = Decision(countdown=None, stop_reason=stop_reason, reason=reason)
        return self._ending(Attempt.Outcome.CANCELLED, decision, error=self._reported(error))

    def _discarded(self, discard: Discard) -> Ending:
        given = call_briefly(lambda: str(discard.reason))
        reason = without(f"discarded: {given}" if given else "discarded", self.secrets)
        decision = Decision(countdown=None, stop_reason=StopReason.DISCARDED, reason=reason)
        return self._ending(Attempt.Outcome.DISCARDED, decision)

    def _snoozed(self, snooze: Snooze) -> Ending:
        countdown = call_briefly(lambda: as_seconds("countdown", snooze.countdown))
        reason = f"snoozed for {countdown:g} s"
        decision = Decision(countdown=countdown, stop_reason=None, reason=reason)
        return self._ending(Attempt.Outcome.SNOOZED, decision)

    def lost(self) -> Ending:
        """Return the ending for an attempt whose worker was lost."""
        task = self.task
        self.started_at = task.last_attempted_at or self.started_at
        lost = WorkerLost(task.worker, task.claimed_at)
        return replace(self.failed(lost, FailureKind.LOST), worker=task.worker)

    def failed(self, error: BaseException, kind: FailureKind, retry: Retry | None = None) -> Ending:
        """Return the ending for a failure, as the policy decides."""
        outcome = OUTCOMES.get(kind, Attempt.Outcome.FAILED)
        failure = Failure(
            exception=error,
            kind=kind,
            retry_count=self.task.retry_count,
            crash_count=self.task.crash_count + (kind is FailureKind.LOST),
            elapsed=self._elapsed(),
            retry=retry,
        )
        reported = self._reported(error)
        self._let_go()  # a callable backoff may ask the database
        decision = self._decide(failure, reported)
        decision = replace(decision, reason=without(decision.reason, self.secrets))
        live = MessageUnavailable(reported.class_path) if reported.is_bare else error
        return self._ending(outcome, decision, error=reported, exception=live, raised=error)

    @cached_property
    def secrets(self) -> list[str]:
        """Return the secrets among the arguments; none if the code never saw the arguments."""
        if self.definition is None:
            return []
        return secrets_of(self.task, self.definition, self.bound)

    def _reported(self, error: BaseException) -> ErrorReport:
        """Describe a failure for storage, without secrets."""
        name = self.task.name
        reported = briefly_or(
            lambda _: bare_report(error, name), partial(report, error, name, caller=HERE)
        )
        if not self.secrets:
            return reported
        message = without(reported.message, self.secrets)
        trace = without(reported.traceback, self.secrets)
        return replace(
            reported,
            message=storable(message, MESSAGE_LIMIT),
            traceback=storable(trace, TRACEBACK_LIMIT),
        )

    def _policy(self) -> RetryPolicy:
        task = self.task
        try:
            return policy_of(task, self.definition)
        except Exception:
            logger.exception("Task %s: its policy is not valid; the default decides", task.pk)
            return RetryPolicy(max_retries=task.max_retries)

    def _decide(self, failure: Failure, error: ErrorReport) -> Decision:
        policy = self._policy()

        def without_it(problem: BaseException) -> Decision:
            # The exception has a fault of its own, such as an attribute that raises.
            plain = policy.replace(backoff=2, retry_on=Exception, no_retry_on=())
            decision = self._decided_by(
                plain, replace(failure, exception=Exception(), retry=None), error
            )
            note = f"{decision.reason}; its policy raised {class_path(type(problem))}"
            return replace(decision, reason=note)

        return briefly_or(without_it, partial(self._decided_by, policy, failure, error))

    def _decided_by(self, policy: RetryPolicy, failure: Failure, error: ErrorReport) -> Decision:
        result, now = None, self._now()
        if callable(policy.backoff) and self.definition:
            result = failed_result_of(self.task, self.definition, error, now)
        at = moments.as_instant(now)
        return policy.decide(failure, now=at, random=_random, task_result=result)

    def _elapsed(self) -> float:
        first = self.task.started_at or self.started_at
        return max(0.0, moments.between(first, self._now()).total_seconds())

    def _ending(self, outcome: Attempt.Outcome, decision: Decision, **details: Any) -> Ending:
        return Ending(
            task=self.task,
            outcome=outcome,
            decision=decision,
            started_at=self.started_at,
            finished_at=self._now(),
            worker=clusters.worker_name(),
            definition=self.definition,
            **details,
        )


def refused(ending: Ending, error: Exception) -> Ending:
    """Return the failure to record in place of an ending that the database refuses."""
    what = ResultNotStorable(ending.task.name, f"{type(error).__name__} of the database")
    reason = "the outcome cannot be stored"
    return replace(
        ending,
        outcome=Attempt.Outcome.FAILED,
        decision=Decision(countdown=None, stop_reason=StopReason.NOT_STORABLE, reason=reason),
        error=ErrorReport(class_path=class_path(type(what)), message=str(what), traceback=""),
        exception=what,
        return_value=None,
        sign=None,
    )


def _encoded(name: str, value: Any) -> Encoded | None:
    if value is None:
        return None
    try:
        text = call_briefly(partial(codec.dumps, value))
    except (TypeError, AttemptTimedOut) as error:
        raise ResultNotStorable(name, str(error)) from error
    if len(text) > LARGEST_RESULT:
        raise ResultNotStorable(name, f"it takes {len(text)} bytes, more than {LARGEST_RESULT}")
    return Encoded(text)
