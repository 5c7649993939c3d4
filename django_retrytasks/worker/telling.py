"""Send the signals of an attempt, those of django.tasks and of this package, best effort.

Receivers are foreign code. They run in the worker's main thread, after the commit, for at most a
minute. Their errors are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from django.dispatch import Signal

from django_retrytasks.alerts import mail_filter
from django_retrytasks.backend import sender_of
from django_retrytasks.errors.reports import bare_report
from django_retrytasks.health import logs
from django_retrytasks.lifecycle import Ending, Settled
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed, task_retrying, task_succeeded
from django_retrytasks.tasks import RetryTask, as_retry_task
from django_retrytasks.tasks.results import STATUS, result_of
from django_retrytasks.values.contract import (
    TaskResultStatus,
    hears_alone,
    is_heard,
    is_logged,
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
OURS = (task_succeeded, attempt_failed, task_retrying)


@dataclass(frozen=True, slots=True)
class Glance:
    """What Django's own receivers, which log a line each, read of a result."""

    id: str
    task: RetryTask[..., Any]
    status: TaskResultStatus

    @classmethod
    def at(cls, task: Task, definition: RetryTask[..., Any]) -> Glance:
        """Return a glance at a Task."""
        return cls(str(task.pk), definition, STATUS[Status(task.status)])


def tell_started(task: Task, definition: RetryTask[..., Any]) -> None:
    """Send task_started, once in each drive: not for a retry, and not after a snooze."""
    begins = task.started_at in (None, task.claimed_at)
    if not begins or task.internal:
        return
    logs.about(task, task.attempt_count + 1)
    if hears_alone(log_task_started, task_started):
        _log(log_task_started, task, definition)
    else:
        _tell(task, partial(_send_started, task, definition))


def heard(settled: Iterable[Settled]) -> list[Settled]:
    """Return the endings that somebody hears of."""
    ours = any(each.has_listeners(Task) for each in OURS)
    every_end = is_heard(task_finished, log_task_finished, logging.INFO)

    def is_told(ending: Ending) -> bool:
        is_success = ending.outcome == Attempt.Outcome.SUCCEEDED
        ends = ending.task.is_finished and (every_end or not is_success)
        return (ours or ends) and not ending.task.internal

    return [each for each in settled if is_told(each.ending)]


def tell_settled(settled: Settled) -> None:
    """Send the signals of a committed ending."""
    ending = settled.ending
    logs.about(ending.task, settled.row["number"])
    succeeded = ending.outcome == Attempt.Outcome.SUCCEEDED
    if succeeded and ending.definition and _only_django_hears():
        _log(log_task_finished, ending.task, as_retry_task(ending.definition))
    else:
        _tell(ending.task, partial(_send_settled, settled))


def _only_django_hears() -> bool:
    """Whether of a success nobody hears but Django's own log."""
    return hears_alone(log_task_finished, task_finished) and not task_succeeded.has_listeners(Task)


def _log(log: Callable[..., None], task: Task, definition: RetryTask[..., Any]) -> None:
    """Call Django's own receiver, which logs a line.

    It gets a glance in place of a result. It is called without a time limit, as are the lines of
    this package: that takes longer than the line itself.
    """
    if not is_logged(logging.INFO):
        return
    try:
        log(None, task_result=Glance.at(task, definition))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _not_told(task, error)


def _tell(task: Task, send: Callable[[], None]) -> None:
    briefly_or(partial(_not_told, task), send, TELLING)


def _not_told(task: Task, error: BaseException) -> None:
    # A receiver hangs, for example. Or a log handler of the site fails: send_robust logs, too.
    words = "Task %s: sending the signals of its attempt failed\n%s"
    logger.error(words, task.pk, bare_report(error).traceback)
    sessions.tidy(sessions.in_transaction(), interrupted=True, is_own=False)


def _send_started(task: Task, definition: RetryTask[..., Any]) -> None:
    result = result_of(task, definition)
    task_started.send_robust(sender_of(definition), task_result=result)


def _send_settled(settled: Settled) -> None:
    ending, task = settled.ending, settled.ending.task
    has_failed = ending.exception is not None
    if ending.outcome == Attempt.Outcome.SUCCEEDED:
        _send(task_succeeded, settled)
    elif has_failed:
        _send(attempt_failed, settled, exception=ending.exception)
    if ending.status == Status.RETRYING and has_failed:
        _send(task_retrying, settled, run_after=settled.row["next_run_after"])
    if task.is_finished:
        _send_finished(settled)


def _send_finished(settled: Settled) -> None:
    exception = settled.ending.exception
    if settled.ending.definition is None:
        return
    with mail_filter.about_own_task():
        send = _finish_of(settled, as_retry_task(settled.ending.definition))
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


def _finish_of(settled: Settled, definition: RetryTask[..., Any]) -> Callable[[], object]:
    """Return what sends task_finished; no result is made for Django's log alone."""
    task = settled.ending.task
    if hears_alone(log_task_finished, task_finished):
        log: Callable[..., None] = log_task_finished
        return partial(log, None, task_result=Glance.at(task, definition))
    attempts = [settled.attempt] if settled.attempt.number == 1 else None
    result = result_of(task, definition, attempts)
    return partial(task_finished.send_robust, sender_of(definition), task_result=result)


def _send(to: Signal, settled: Settled, **details: Any) -> None:
    if to.has_listeners(Task):
        to.send_robust(Task, task=settled.ending.task, attempt=settled.attempt, **details)
