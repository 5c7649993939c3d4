"""Send the signals of an attempt, those of django.tasks and of this package, best effort.

Receivers are foreign code. They run in the worker's main thread, after the commit, for at most a
minute. Their errors are logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from django.dispatch import Signal

from django_retrytasks.alerts import mail_filter
from django_retrytasks.backend import sender_of
from django_retrytasks.errors.reports import bare_report
from django_retrytasks.lifecycle import Settled
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed, task_retrying, task_succeeded
from django_retrytasks.tasks import RetryTask, as_retry_task
from django_retrytasks.tasks.results import result_of
from django_retrytasks.values.contract import Task as ContractTask
from django_retrytasks.values.contract import task_finished, task_started

from . import sessions
from .timeouts import briefly_or

logger = logging.getLogger("django_retrytasks")
# Django's own receivers of its signals, one for each, log here.
django_logger = logging.getLogger("django.tasks")

# Seconds for all receivers of one attempt's signals.
TELLING = 60.0


def tell_started(task: Task, definition: RetryTask[..., Any]) -> None:
    """Send task_started, once in each drive: not for a retry, and not after a snooze."""
    begins = task.started_at in (None, task.claimed_at)
    if begins and not task.internal and _is_heard(task_started, definition):
        _tell(task, partial(_send_started, task, definition))


def tell_settled(settled: Settled) -> None:
    """Send the signals of a committed ending."""
    if not settled.ending.task.internal and _has_listeners(settled):
        _tell(settled.ending.task, partial(_send_settled, settled))


def _has_listeners(settled: Settled) -> bool:
    """Whether any signal of a committed ending is heard."""
    ours = any(each.has_listeners(Task) for each in (task_succeeded, attempt_failed, task_retrying))
    definition = settled.ending.definition
    return ours or (
        settled.ending.task.is_finished
        and definition is not None
        and (settled.ending.exception is not None or _is_heard(task_finished, definition))
    )


def _is_heard(signal: Signal, definition: ContractTask[..., Any]) -> bool:
    """Whether more than Django's own log, at INFO, hears a signal about a task."""
    if len(signal.receivers) == 1 and not django_logger.isEnabledFor(logging.INFO):
        return False
    return signal.has_listeners(sender_of(definition))


def _tell(task: Task, send: Callable[[], None]) -> None:
    def not_told(error: BaseException) -> None:
        # A receiver hangs, for example. Or a log handler of the site fails: send_robust logs, too.
        words = "Task %s: sending the signals of its attempt failed\n%s"
        logger.error(words, task.pk, bare_report(error).traceback)
        sessions.tidy(sessions.in_transaction(), interrupted=True, is_own=False)

    briefly_or(not_told, send, TELLING)


def _send_started(task: Task, definition: RetryTask[..., Any]) -> None:
    result = result_of(task, definition)
    task_started.send_robust(sender_of(result.task), task_result=result)


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
        result = result_of(ending.task, as_retry_task(ending.definition), attempts)
        send = partial(task_finished.send_robust, sender_of(result.task), task_result=result)
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
