"""Send the signals of an attempt, those of django.tasks and of this package, best effort.

Receivers are foreign code. They run in the worker's main thread, after the commit, for at most a
minute. Their errors are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.dispatch import Signal

from django_retrytasks.alerts import mail_filter
from django_retrytasks.backend import sender_of
from django_retrytasks.errors.reports import bare_report
from django_retrytasks.lifecycle import Ending, Settled
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed, task_retrying, task_succeeded
from django_retrytasks.tasks import RetryTask, as_retry_task
from django_retrytasks.tasks.results import STATUS, result_of
from django_retrytasks.values.contract import (
    TaskResultStatus,
    hears_alone,
    is_heard,
    log_task_finished,
    log_task_started,
    task_finished,
    task_started,
)

from . import sessions
from .timeouts import briefly_or

logger = logging.getLogger("django_retrytasks")

# Seconds for all receivers of one attempt's signals.
TELLING = 60.0


@dataclass(frozen=True, slots=True)
class Glance:
    """What Django's own receivers, which log a line each, read of a result."""

    id: str
    task: RetryTask[..., Any]
    status: TaskResultStatus


def tell_started(task: Task, definition: RetryTask[..., Any]) -> None:
    """Send task_started, once in each drive: not for a retry, and not after a snooze."""
    begins = task.started_at in (None, task.claimed_at)
    if begins and not task.internal and is_heard(task_started, log_task_started, logging.INFO):
        _tell(task, partial(_send_started, task, definition))


def heard(settled: Iterable[Settled]) -> list[Settled]:
    """Return the endings that somebody hears of."""
    ours = any(each.has_listeners(Task) for each in (task_succeeded, attempt_failed, task_retrying))
    every_end = is_heard(task_finished, log_task_finished, logging.INFO)

    def is_told(ending: Ending) -> bool:
        ends = ending.task.is_finished and (every_end or ending.exception is not None)
        return (ours or ends) and not ending.task.internal

    return [each for each in settled if is_told(each.ending)]


def tell_settled(settled: Settled) -> None:
    """Send the signals of a committed ending."""
    _tell(settled.ending.task, partial(_send_settled, settled))


def _tell(task: Task, send: Callable[[], None]) -> None:
    def not_told(error: BaseException) -> None:
        # A receiver hangs, for example. Or a log handler of the site fails: send_robust logs, too.
        words = "Task %s: sending the signals of its attempt failed\n%s"
        logger.error(words, task.pk, bare_report(error).traceback)
        sessions.tidy(sessions.in_transaction(), interrupted=True, is_own=False)

    briefly_or(not_told, send, TELLING)


def _send_started(task: Task, definition: RetryTask[..., Any]) -> None:
    _sending(task_started, log_task_started, task, definition)()


def _sending(
    signal: Signal,
    log: Callable[..., None],
    task: Task,
    definition: RetryTask[..., Any],
    attempts: Sequence[Attempt] | None = None,
) -> Callable[[], object]:
    """Return what sends a signal of django.tasks; no result is made for Django's log alone."""
    if hears_alone(log, signal):
        glance = Glance(str(task.pk), definition, STATUS[Status(task.status)])
        return partial(log, None, task_result=glance)
    result = result_of(task, definition, attempts)
    return partial(signal.send_robust, sender_of(definition), task_result=result)


def _send_settled(settled: Settled) -> None:
    ending, attempt = settled.ending, settled.attempt
    task, sent = ending.task, {"task": ending.task, "attempt": attempt}
    has_failed = ending.exception is not None
    if ending.outcome == Attempt.Outcome.SUCCEEDED:
        _send(task_succeeded, **sent)
    elif has_failed:
        _send(attempt_failed, **sent, exception=ending.exception)
    if ending.status == Status.RETRYING and has_failed:
        _send(task_retrying, **sent, run_after=attempt.next_run_after)
    if task.is_finished:
        _send_finished(settled)


def _send_finished(settled: Settled) -> None:
    ending, exception = settled.ending, settled.ending.exception
    if ending.definition is None:
        return
    attempts = [settled.attempt] if settled.attempt.number == 1 else None
    with mail_filter.about_own_task():
        definition = as_retry_task(ending.definition)
        send = _sending(task_finished, log_task_finished, ending.task, definition, attempts)
        if exception is None:
            send()
            return
        trace = exception.__traceback__
        try:
            # The contract of task_finished: its receivers read the exception from sys.exc_info().
            raise exception
        except BaseException:
            send()
        finally:
            exception.__traceback__ = trace


def _send(to: Signal, **details: Any) -> None:
    if to.has_listeners(Task):
        to.send_robust(Task, **details)
