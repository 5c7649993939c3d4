"""One attempt: call the function within its timeout, and decide what follows."""

from __future__ import annotations

import asyncio
import inspect
import logging
import multiprocessing
import os
import random
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any

from asgiref.sync import async_to_sync
from django.db import DatabaseError, connections
from django.utils import timezone

from . import codec, wakeups
from .backend import failed_result_of, resolve_stored, result_of, sender_of
from .context import RetryTaskContext
from .contract import task_started
from .exceptions import (
    AttemptTimedOut,
    Discard,
    NotATask,
    NotImportable,
    ResultNotStorable,
    Retry,
    Snooze,
    WorkerLost,
)
from .lifecycle import Ending
from .models import Attempt, Encoded, Task, Unreadable
from .policy import Decision, Failure, FailureKind, RetryPolicy, StopReason
from .redaction import secrets_of, without
from .reports import MESSAGE_LIMIT, TRACEBACK_LIMIT, ErrorReport, class_path, report, storable
from .tasks import RetryTask, site_policy

logger = logging.getLogger("django_retrytasks")

# A timed-out function that swallows the exception is interrupted again after so many seconds.
INTERRUPT_AGAIN = 1.0
LARGEST_RESULT = 1024 * 1024
OUTCOMES = {
    FailureKind.TIMED_OUT: Attempt.Outcome.TIMED_OUT,
    FailureKind.LOST: Attempt.Outcome.LOST,
}


def worker_name() -> str:
    """Return who runs here: host, process id and process name, parted by colons."""
    return f"{socket.gethostname()}:{os.getpid()}:{multiprocessing.current_process().name}"[:255]


class AttemptRun:
    """One attempt: call the function and decide what follows."""

    def __init__(self, task: Task, now: Callable[[], datetime]) -> None:
        self._task = task
        self._now = now
        self._started_at = now()
        self._definition: RetryTask[..., Any] | None = None

    @property
    def lacks_code(self) -> bool:
        """Whether this worker has not the code that the Task was enqueued for."""
        stored = (self._task.args, self._task.kwargs)
        if self._task.lapsed or any(isinstance(each, Unreadable) for each in stored):
            return False
        try:
            self._definition = resolve_stored(self._task)
            self._definition.signature.bind(*self._task.args, **self._task.kwargs)
        except (NotImportable, NotATask, TypeError):
            return True
        return False

    def ending(self) -> Ending:
        """Run the attempt; return how it ended and what follows. Whatever the function raises is
        an ending, KeyboardInterrupt excepted."""
        outer = _aliases_in_transaction()
        try:
            ending = self._lost() if self._task.lapsed else self._run()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # What it raised cannot be dealt with as it should, such as a Discard made wrongly.
            ending = self._failed(error, FailureKind.RAISED)
        _clear_frames(ending.exception)
        _tidy_connections(outer, interrupted=ending.outcome == Attempt.Outcome.TIMED_OUT)
        return ending

    def _run(self) -> Ending:
        try:
            self._definition = self._definition or resolve_stored(self._task)
        except (NotImportable, NotATask) as error:
            return self._failed(error, FailureKind.NOT_IMPORTABLE)
        self._announce_start()
        try:
            value = self._call(self._definition)
        except KeyboardInterrupt:
            raise
        except Discard as discard:
            return self._discarded(discard)
        except Snooze as snooze:
            return self._snoozed(snooze)
        except BaseException as error:
            return self._raised(error)
        return self._succeeded(value)

    def _call(self, definition: RetryTask[..., Any]) -> Any:
        task, args, kwargs = self._task, list(self._task.args), dict(self._task.kwargs)
        if any(isinstance(each, dict | list) for each in (*args, *kwargs.values())):
            _ = self._secrets  # read now: the function may change what it is given
        if definition.wants_context:
            read = partial(result_of, task, definition)
            args.insert(0, RetryTaskContext(row=task, read=read))
        with _mending_transactions():
            return call_within(task.timeout, definition.func, *args, **kwargs)

    def _announce_start(self) -> None:
        """Send task_started, once in each drive: not for a retry, nor after a snooze."""
        task = self._task
        if not task.internal and task.started_at in (None, task.claimed_at):
            result = result_of(task, self._definition)
            task_started.send_robust(sender_of(result.task), task_result=result)

    def _succeeded(self, value: Any) -> Ending:
        try:
            return_value = _encoded(self._task.name, value)
        except ResultNotStorable as error:
            return self._failed(error, FailureKind.NOT_STORABLE)
        decision = Decision(countdown=None, stop_reason=None, reason="succeeded")
        return self._ending(Attempt.Outcome.SUCCEEDED, decision, return_value=return_value)

    def _discarded(self, discard: Discard) -> Ending:
        reason = f"discarded: {discard.reason}" if discard.reason else "discarded"
        reason = without(reason, self._secrets)
        decision = Decision(countdown=None, stop_reason=StopReason.DISCARDED, reason=reason)
        return self._ending(Attempt.Outcome.DISCARDED, decision)

    def _snoozed(self, snooze: Snooze) -> Ending:
        reason = f"snoozed for {snooze.countdown:g} s"
        decision = Decision(countdown=snooze.countdown, stop_reason=None, reason=reason)
        return self._ending(Attempt.Outcome.SNOOZED, decision)

    def _raised(self, error: BaseException) -> Ending:
        retry = error if isinstance(error, Retry) else None
        cause = retry.cause if retry else error
        timed_out = isinstance(cause, AttemptTimedOut)
        kind = FailureKind.TIMED_OUT if timed_out else FailureKind.RAISED
        return self._failed(cause, kind, retry)

    def _lost(self) -> Ending:
        task = self._task
        self._started_at = task.last_attempted_at or self._started_at
        with suppress(NotImportable, NotATask):
            self._definition = resolve_stored(task)
        lost = WorkerLost(task.worker, task.claimed_at)
        return replace(self._failed(lost, FailureKind.LOST), worker=task.worker)

    def _failed(
        self, error: BaseException, kind: FailureKind, retry: Retry | None = None
    ) -> Ending:
        outcome = OUTCOMES.get(kind, Attempt.Outcome.FAILED)
        failure = Failure(
            exception=error,
            kind=kind,
            retry_count=self._task.retry_count,
            crash_count=self._task.crash_count + (kind is FailureKind.LOST),
            elapsed=self._elapsed(),
            retry=retry,
        )
        reported = self._reported(error)
        decision = self._decide(failure, reported)
        decision = replace(decision, reason=without(decision.reason, self._secrets))
        return self._ending(outcome, decision, error=reported, exception=error)

    @cached_property
    def _secrets(self) -> list[str]:
        """What must not be recorded of the arguments; nothing where the code never saw them."""
        return secrets_of(self._task, self._definition) if self._definition else []

    def _reported(self, error: BaseException) -> ErrorReport:
        """Describe a failure for storage, the secrets left out."""
        reported = report(error)
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
        task = self._task
        try:
            return policy_of(task, self._definition)
        except Exception:
            logger.exception("Task %s: its policy is not valid; the default decides", task.pk)
            return RetryPolicy(max_retries=task.max_retries)

    def _decide(self, failure: Failure, error: ErrorReport) -> Decision:
        policy = self._policy()
        result, now = None, self._now()
        if callable(policy.backoff) and self._definition:
            result = failed_result_of(self._task, self._definition, error, now)
        aware = _aware(now)
        return policy.decide(failure, now=aware, random=random.random, task_result=result)

    def _elapsed(self) -> float:
        first = self._task.started_at or self._started_at
        return max(0.0, (self._now() - first).total_seconds())

    def _ending(self, outcome: Attempt.Outcome, decision: Decision, **details: Any) -> Ending:
        return Ending(
            task=self._task,
            outcome=outcome,
            decision=decision,
            started_at=self._started_at,
            finished_at=self._now(),
            worker=worker_name(),
            **details,
        )


def refused(ending: Ending, error: Exception) -> Ending:
    """Return what is recorded of an ending that the database refuses: a failure saying so."""
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


def policy_of(task: Task, definition: RetryTask[..., Any] | None) -> RetryPolicy:
    """Return the policy of a stored Task: its call's options over its definition's.

    Without a definition (its code is gone) the site's policy decides; ``max_retries`` is always the
    Task's own.

    Raises:
        TypeError, ValueError: options that are no longer valid.
    """
    policy = definition.policy if definition else site_policy().replace(**task.options)
    if policy.max_retries == task.max_retries:
        return policy
    return policy.replace(max_retries=task.max_retries)


def call_within(timeout: float | None, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function, or run a coroutine function to its end, within ``timeout`` seconds.

    Raises:
        AttemptTimedOut: inside the function, when the time is over; again every second while it
            swallows the exception, and at last if it returns all the same. Where the platform has
            no timer signal, or outside the main thread, only a coroutine is interrupted.
    """
    with _guarded(timeout):
        if inspect.iscoroutinefunction(func):
            return async_to_sync(_await_within)(timeout, func, *args, **kwargs)
        if timeout is None or not _can_interrupt():
            return func(*args, **kwargs)
        return _interrupted_after(timeout, partial(func, *args, **kwargs))


@contextmanager
def _guarded(timeout: float | None) -> Iterator[None]:
    """Have django-q2's guard end this worker if even the exception at the timeout does not."""
    if timeout is None:
        yield
        return
    wakeups.set_guard(timeout + wakeups.GRACE)
    try:
        yield
    finally:
        wakeups.set_guard(None)


async def _await_within(
    seconds: float | None, func: Callable[..., Any], *args: Any, **kwargs: Any
) -> Any:
    try:
        async with asyncio.timeout(seconds) as limit:
            value = await func(*args, **kwargs)
    except TimeoutError as error:
        if limit.expired() and seconds is not None:
            raise AttemptTimedOut(seconds) from error
        raise
    if limit.expired() and seconds is not None:
        raise AttemptTimedOut(seconds)
    return value


def _interrupted_after(timeout: float, call: Callable[[], Any]) -> Any:
    expired = False

    def interrupt(signum: int, frame: Any) -> None:
        nonlocal expired
        expired = True
        raise AttemptTimedOut(timeout)

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, timeout, INTERRUPT_AGAIN)
            value = call()
        finally:
            # The time may be over at this very line; the next interrupt is a second away.
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    if expired:
        raise AttemptTimedOut(timeout)
    return value


def _can_interrupt() -> bool:
    in_main_thread = threading.current_thread() is threading.main_thread()
    return in_main_thread and hasattr(signal, "setitimer")


@contextmanager
def _mending_transactions() -> Iterator[None]:
    """Roll a caller's transaction that an inline attempt broke back to where the attempt began."""
    joined = [c for c in connections.all(initialized_only=True) if c.in_atomic_block]
    marks = [(connection, mark) for connection in joined if (mark := connection.savepoint())]
    try:
        yield
    finally:
        for connection, mark in marks:
            try:
                connection.savepoint_commit(mark)
            except DatabaseError:
                connection.needs_rollback = False
                connection.savepoint_rollback(mark)


def _aliases_in_transaction() -> set[str]:
    return {c.alias for c in connections.all(initialized_only=True) if c.in_atomic_block}


def _clear_frames(error: BaseException | None) -> None:
    """Let go of what the frames of a failure hold, such as a generator with a transaction open."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _tidy_connections(outer: Collection[str], *, interrupted: bool) -> None:
    """Close connections that a function may have left broken, or in a transaction.

    Those in ``outer`` were in a transaction before, and belong to the caller. An interrupted
    connection may have been in the middle of a query, so all are closed then.
    """
    for connection in connections.all(initialized_only=True):
        if connection.alias in outer:
            continue
        if connection.in_atomic_block:
            connection.close()
            del connections[connection.alias]
        elif interrupted:
            connection.close()
        elif connection.errors_occurred or not connection.autocommit:
            connection.close_if_unusable_or_obsolete()


def _encoded(name: str, value: Any) -> Encoded | None:
    if value is None:
        return None
    try:
        text = codec.dumps(value)
    except TypeError as error:
        raise ResultNotStorable(name, str(error)) from error
    if len(text) > LARGEST_RESULT:
        raise ResultNotStorable(name, f"it takes {len(text)} bytes, more than {LARGEST_RESULT}")
    return Encoded(text)


def _aware(moment: datetime) -> datetime:
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)
