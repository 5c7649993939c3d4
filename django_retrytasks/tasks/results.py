"""A stored Task as the result that ``django.tasks`` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Status, Task, Unreadable
from django_retrytasks.values.contract import TaskError, TaskResultStatus

from .definition import RetryTask
from .result import RetryTaskResult
from .stored import resolve_stored
from .storing import Call

STATUS = {
    Status.PENDING: TaskResultStatus.READY,
    Status.RETRYING: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    Status.FAILED: TaskResultStatus.FAILED,
    Status.DISCARDED: TaskResultStatus.FAILED,
}

FAILURES = (Attempt.Outcome.FAILED, Attempt.Outcome.TIMED_OUT, Attempt.Outcome.LOST)


def result_of(
    row: Task,
    definition: RetryTask[..., Any] | None = None,
    attempts: Sequence[Attempt] | None = None,
) -> RetryTaskResult[Any]:
    """Return the state of a Task as a result.

    Args:
        row: the Task.
        definition: its task as :func:`resolve_stored` gives it, where the caller has it.
        attempts: all its attempts in order, where the caller has them.
    """
    if attempts is None:
        attempts = _attempts_of(row) if row.attempt_count else []
    running = [row.worker] if row.status == Status.RUNNING else []
    failures = [attempt for attempt in attempts if attempt.outcome in FAILURES]
    result = _result(
        definition or resolve_stored(row),
        row,
        (_readable(row.args, []), _readable(row.kwargs, {})),
        enqueued_at=row.enqueued_at,
        started_at=attempts[0].started_at if attempts else row.started_at,
        errors=[
            TaskError(exception_class_path=a.exception_class_path, traceback=a.traceback)
            for a in failures
        ],
        worker_ids=[attempt.worker for attempt in attempts] + running,
    )
    object.__setattr__(result, "_return_value", row.return_value)
    return result


def failed_result_of(
    row: Task, definition: RetryTask[..., Any], error: ErrorReport, at: datetime
) -> RetryTaskResult[Any]:
    """Return a running Task's state as it is if this error ends it: what a backoff is handed."""
    result = result_of(row, definition)
    result.errors.append(
        TaskError(exception_class_path=error.class_path, traceback=error.traceback)
    )
    return replace(result, status=TaskResultStatus.FAILED, finished_at=at)


def _attempts_of(row: Task) -> list[Attempt]:
    # Not row.attempts: a router may send that to a replica, which lags behind.
    return list(Attempt.objects.filter(task=row.pk))


def _readable(value: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(value, Unreadable) else value


def enqueued_result(
    task: RetryTask[..., Any], row: Task, enqueued_at: datetime
) -> RetryTaskResult[Any]:
    """Return the state of a row that has just been stored, its arguments still encoded."""
    call = (row.args.value, row.kwargs.value)
    return _result(
        task, row, call, enqueued_at=enqueued_at, started_at=None, errors=[], worker_ids=[]
    )


def _result(
    task: RetryTask[..., Any],
    row: Task,
    call: Call,
    *,
    enqueued_at: datetime,
    started_at: datetime | None,
    errors: list[TaskError],
    worker_ids: list[str],
) -> RetryTaskResult[Any]:
    return RetryTaskResult(
        task=task,
        id=str(row.pk),
        status=STATUS[Status(row.status)],
        enqueued_at=enqueued_at,
        started_at=started_at,
        finished_at=row.finished_at,
        last_attempted_at=row.last_attempted_at,
        args=list(call[0]),
        kwargs=dict(call[1]),
        backend=row.backend,
        errors=errors,
        worker_ids=worker_ids,
    )
