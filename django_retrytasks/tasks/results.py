"""Make the ``django.tasks`` result of a stored Task."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Status, Task, Unreadable
from django_retrytasks.values.contract import TaskError, TaskResultStatus
from django_retrytasks.values.progress import Progress

from .definition import RetryTask
from .result import RetryTaskResult
from .stored import as_stored, resolve_stored

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
        definition: its definition from :func:`resolve_stored`; None: it is looked up.
        attempts: all its attempts in order; None: they are read.
    """
    if attempts is None:
        attempts = _attempts_of(row) if row.attempt_count else []
    running = [row.worker] if row.status == Status.RUNNING else []
    result = _result(
        definition or resolve_stored(row),
        row,
        [] if isinstance(row.args, Unreadable) else list(row.args),
        {} if isinstance(row.kwargs, Unreadable) else dict(row.kwargs),
        enqueued_at=row.enqueued_at,
        started_at=attempts[0].started_at if attempts else row.started_at,
        errors=[
            TaskError(exception_class_path=a.exception_class_path, traceback=a.traceback)
            for a in attempts
            if a.outcome in FAILURES
        ],
        worker_ids=[attempt.worker for attempt in attempts] + running,
    )
    object.__setattr__(result, "_return_value", row.return_value)
    return result


def failed_result_of(
    row: Task, definition: RetryTask[..., Any], error: ErrorReport, at: datetime
) -> RetryTaskResult[Any]:
    """Return a callable backoff's argument: the running Task as failed, with this error added."""
    result = result_of(row, definition)
    result.errors.append(
        TaskError(exception_class_path=error.class_path, traceback=error.traceback)
    )
    return replace(result, status=TaskResultStatus.FAILED, finished_at=at)


def _attempts_of(row: Task) -> list[Attempt]:
    # Not row.attempts: a router may read it from a replica, which lags behind.
    return list(Attempt.objects.filter(task=row.pk))


def results_of(
    definition: RetryTask[..., Any], rows: Collection[Task]
) -> dict[UUID, RetryTaskResult[Any]]:
    """Return the state of Tasks of one function, by the id; one query reads all attempts."""
    attempts: dict[UUID, list[Attempt]] = {row.pk: [] for row in rows}
    for attempt in Attempt.objects.filter(task__in=[r.pk for r in rows if r.attempt_count]):
        attempts[attempt.task_id].append(attempt)
    return {row.pk: result_of(row, as_stored(definition, row), attempts[row.pk]) for row in rows}


def enqueued_result(
    task: RetryTask[..., Any], row: Task, enqueued_at: datetime
) -> RetryTaskResult[Any]:
    """Return the result of a new row, whose arguments are still encoded."""
    args, kwargs = row.args.value, row.kwargs.value
    return _result(task, row, args, kwargs, enqueued_at=enqueued_at, created=True)


def _result(
    task: RetryTask[..., Any],
    row: Task,
    args: list[Any],
    kwargs: dict[str, Any],
    *,
    enqueued_at: datetime,
    started_at: datetime | None = None,
    errors: Sequence[TaskError] = (),
    worker_ids: Sequence[str] = (),
    created: bool = False,
) -> RetryTaskResult[Any]:
    return RetryTaskResult(
        task=task,
        id=str(row.pk),
        status=STATUS[Status(row.status)],
        enqueued_at=enqueued_at,
        started_at=started_at,
        finished_at=row.finished_at,
        last_attempted_at=row.last_attempted_at,
        args=args,
        kwargs=kwargs,
        backend=row.backend,
        errors=list(errors),
        worker_ids=list(worker_ids),
        progress=Progress.read(row.progress),
        created=created,
    )
