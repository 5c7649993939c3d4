"""One attempt: call the function within its timeout, and decide what follows."""

from __future__ import annotations

import logging
import math
import os
import random
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from inspect import BoundArguments
from types import TracebackType
from typing import Any, NoReturn

from django_retrytasks.broker import clusters
from django_retrytasks.errors.causes import cut_earlier_raises, is_a, leaves, linked, traceback_of
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
    NotATask,
    NotImportable,
    ResultNotStorable,
    Retry,
    Snooze,
    WorkerLost,
)
from django_retrytasks.lifecycle import Ending
from django_retrytasks.models import Attempt, Encoded, Task, Unreadable
from django_retrytasks.policy import Decision, Failure, FailureKind, RetryPolicy, StopReason
from django_retrytasks.policy.steering import steering_of
from django_retrytasks.tasks import RetryTask
from django_retrytasks.tasks.context import RetryTaskContext
from django_retrytasks.tasks.redaction import secrets_of, without
from django_retrytasks.tasks.results import failed_result_of, result_of
from django_retrytasks.tasks.stored import policy_of, resolve_stored
from django_retrytasks.values import codec, moments
from django_retrytasks.values.checked import as_seconds

from . import sessions
from .telling import tell_started
from .timeouts import briefly_or, call_beside_others, call_briefly, call_within

logger = logging.getLogger("django_retrytasks")

# The frames of this directory say nothing about a failure.
HERE = os.path.dirname(__file__)
LARGEST_RESULT = 1024 * 1024
OUTCOMES = {
    FailureKind.TIMED_OUT: Attempt.Outcome.TIMED_OUT,
    FailureKind.LOST: Attempt.Outcome.LOST,
}

# A function may seed the module's generator, which would fix the jitter of its retries.
_random = random.SystemRandom().random


class AttemptRun:
    """One attempt: call the function and decide what follows.

    :meth:`ending` does all of it. An attempt that runs beside others is begun, called and ended by
    :meth:`begin`, :meth:`call` and :meth:`ended`.

    Args:
        task: the Task, under a claim.
        now: the database's time.
        is_inline: whether the connections are the caller's, which must stay as they are.
        callers: aliases of the connections in a caller's transaction; None: those of now.

    Attributes:
        has_thread: whether its function, beside others, uses a thread of its own, with connections.
    """

    def __init__(
        self,
        task: Task,
        now: Callable[[], datetime],
        *,
        is_inline: bool = False,
        callers: Collection[str] | None = None,
    ) -> None:
        self.task = task
        self._now = now
        self._is_inline = is_inline
        self._callers = sessions.in_transaction() if callers is None else callers
        self._started_at = now()
        self._began = time.monotonic()
        self.has_thread = False
        self._definition: RetryTask[..., Any] | None = None
        self._bound: BoundArguments | None = None
        self._raised: BaseException | None = None
        self._trace: TracebackType | None = None

    @property
    def lacks_code(self) -> bool:
        """Whether this worker lacks the code for the Task's call."""
        stored = (self.task.args, self.task.kwargs)
        if self.task.lapsed or any(isinstance(each, Unreadable) for each in stored):
            return False
        try:
            signature = self._resolved().signature
            self._bound = signature.bind(*self.task.args, **self.task.kwargs)
        except (NotImportable, NotATask, TypeError):
            return True
        return False

    @property
    def concurrency(self) -> int:
        """Return how many Tasks of the function may run together, once its code is found."""
        return self._definition.concurrency if self._definition else 1

    @property
    def seconds_left(self) -> float:
        """Return the seconds until its timeout, below 0 after it; infinity without one."""
        limit = math.inf if self.task.timeout is None else self.task.timeout
        return limit - (time.monotonic() - self._began)

    def ending(self) -> Ending:
        """Run the attempt and return its ending; raise nothing but KeyboardInterrupt."""
        return self._safely(self._lost if self.task.lapsed else self._run)

    def begin(self) -> None:
        """Tell of the start of an attempt that runs beside others; its code must be found."""
        tell_started(self.task, self._resolved())

    async def call(self) -> Callable[[], Any] | None:
        """Call the function within its timeout, beside others on one event loop.

        Return the outcome, a callable that returns the function's value or raises its exception;
        None: it was cancelled, perhaps by another one.
        """
        definition = self._resolved()
        args, kwargs = self._arguments(definition)
        outcome = None
        try:
            value = await call_beside_others(self.task.timeout, definition.func, *args, **kwargs)
            return lambda: value
        except CancelledError:
            pass
        except BaseException as error:
            self._note_raise(error)
            outcome = partial(_raise, error)
        self.has_thread = True  # perhaps: its code there may still run
        return outcome

    def ended(self, outcome: Callable[[], Any]) -> Ending:
        """Return the ending for the outcome of a call; raise nothing but KeyboardInterrupt."""
        return self._safely(partial(self._ended, outcome))

    def _resolved(self) -> RetryTask[..., Any]:
        """Return the task's definition; raise NotImportable or NotATask without its code."""
        self._definition = self._definition or resolve_stored(self.task)
        return self._definition

    def _safely(self, end: Callable[[], Ending]) -> Ending:
        try:
            ending = end()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # The exception itself is broken, such as a Discard without its attributes.
            ending = self._failed(error, FailureKind.RAISED)
        self._let_go()
        return ending

    def _run(self) -> Ending:
        try:
            definition = self._resolved()
        except (NotImportable, NotATask) as error:
            return self._failed(error, FailureKind.NOT_IMPORTABLE)
        tell_started(self.task, definition)
        return self._ended(partial(self._call, definition))

    def _ended(self, outcome: Callable[[], Any]) -> Ending:
        try:
            value = outcome()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self._trace is None:
                self._note_raise(error)
            self._raised = BaseException.with_traceback(error, self._trace)
            return self._ended_by(error)
        return self._succeeded(value)

    def _note_raise(self, error: BaseException) -> None:
        """Keep the traceback: other attempts may raise the same instance before this one ends."""
        cut_earlier_raises(error, AttemptRun.call.__code__, AttemptRun._ended.__code__)
        self._trace = traceback_of(error)

    def _call(self, definition: RetryTask[..., Any]) -> Any:
        args, kwargs = self._arguments(definition)
        with sessions.mending_transactions(self._callers):
            return call_within(self.task.timeout, definition.func, *args, **kwargs)

    def _arguments(self, definition: RetryTask[..., Any]) -> tuple[list[Any], dict[str, Any]]:
        task, args, kwargs = self.task, list(self.task.args), dict(self.task.kwargs)
        if any(isinstance(each, dict | list) for each in (*args, *kwargs.values())):
            _ = self._secrets  # read now: the function may change its arguments
        if definition.wants_context:
            read = partial(result_of, task, definition)
            args.insert(0, RetryTaskContext(row=task, read=read))
        return args, kwargs

    def _let_go(self) -> None:
        """Free the frames of a failure, and tidy the connections, before other code uses them."""
        raised, self._raised = self._raised, None
        interrupted = False
        if raised is not None:
            interrupted = any(is_a(one, AttemptTimedOut) for one in linked(raised))
            briefly_or(self._not_freed, partial(_clear_frames, raised))
        sessions.tidy(self._callers, interrupted=interrupted, is_own=not self._is_inline)

    def _not_freed(self, error: BaseException) -> None:
        words = "Task %s: the frames of its failure could not be freed: %s"
        logger.warning(words, self.task.pk, class_path(type(error)))

    def _succeeded(self, value: Any) -> Ending:
        try:
            return_value = _encoded(self.task.name, value)
        except ResultNotStorable as error:
            return self._failed(error, FailureKind.NOT_STORABLE)
        decision = Decision(countdown=None, stop_reason=None, reason="succeeded")
        return self._ending(Attempt.Outcome.SUCCEEDED, decision, return_value=return_value)

    def _ended_by(self, error: BaseException) -> Ending:
        """Return the ending for an exception of the function, which may steer its Task."""
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
        return self._failed(cause, kind, retry)

    def _discarded(self, discard: Discard) -> Ending:
        given = call_briefly(lambda: str(discard.reason))
        reason = without(f"discarded: {given}" if given else "discarded", self._secrets)
        decision = Decision(countdown=None, stop_reason=StopReason.DISCARDED, reason=reason)
        return self._ending(Attempt.Outcome.DISCARDED, decision)

    def _snoozed(self, snooze: Snooze) -> Ending:
        countdown = call_briefly(lambda: as_seconds("countdown", snooze.countdown))
        reason = f"snoozed for {countdown:g} s"
        decision = Decision(countdown=countdown, stop_reason=None, reason=reason)
        return self._ending(Attempt.Outcome.SNOOZED, decision)

    def _lost(self) -> Ending:
        task = self.task
        self._started_at = task.last_attempted_at or self._started_at
        with suppress(NotImportable, NotATask):
            self._resolved()
        lost = WorkerLost(task.worker, task.claimed_at)
        return replace(self._failed(lost, FailureKind.LOST), worker=task.worker)

    def _failed(
        self, error: BaseException, kind: FailureKind, retry: Retry | None = None
    ) -> Ending:
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
        decision = replace(decision, reason=without(decision.reason, self._secrets))
        live = MessageUnavailable(reported.class_path) if reported.is_bare else error
        return self._ending(outcome, decision, error=reported, exception=live)

    @cached_property
    def _secrets(self) -> list[str]:
        """The secrets among the arguments; none if the code never saw the arguments."""
        if self._definition is None:
            return []
        return secrets_of(self.task, self._definition, self._bound)

    def _reported(self, error: BaseException) -> ErrorReport:
        """Describe a failure for storage, without secrets."""
        name = self.task.name
        reported = briefly_or(
            lambda _: bare_report(error, name), partial(report, error, name, caller=HERE)
        )
        if not self._secrets:
            return reported
        message = without(reported.message, self._secrets)
        trace = without(reported.traceback, self._secrets)
        return replace(
            reported,
            message=storable(message, MESSAGE_LIMIT),
            traceback=storable(trace, TRACEBACK_LIMIT),
        )

    def _policy(self) -> RetryPolicy:
        task = self.task
        try:
            return policy_of(task, self._definition)
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
        if callable(policy.backoff) and self._definition:
            result = failed_result_of(self.task, self._definition, error, now)
        at = moments.as_instant(now)
        return policy.decide(failure, now=at, random=_random, task_result=result)

    def _elapsed(self) -> float:
        first = self.task.started_at or self._started_at
        return max(0.0, moments.between(first, self._now()).total_seconds())

    def _ending(self, outcome: Attempt.Outcome, decision: Decision, **details: Any) -> Ending:
        return Ending(
            task=self.task,
            outcome=outcome,
            decision=decision,
            started_at=self._started_at,
            finished_at=self._now(),
            worker=clusters.worker_name(),
            definition=self._definition,
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
    )


def _raise(error: BaseException) -> NoReturn:
    raise error


def _clear_frames(error: BaseException) -> None:
    """Free the locals of a failure's frames, such as a generator with an open transaction."""
    for one in linked(error):
        traceback.clear_frames(traceback_of(one))


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
