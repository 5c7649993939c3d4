"""The backend of ``django.tasks`` that stores Tasks, and the results read back from them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic

from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from . import codec, definitions, lifecycle, moments, wakeups
from .contract import (
    AnyTaskResult,
    BaseTaskBackend,
    InvalidTask,
    TaskError,
    TaskResultDoesNotExist,
    TaskResultStatus,
    task_backends,
    task_enqueued,
)
from .contract import (
    Task as ContractTask,
)
from .exceptions import NotATask, NotImportable, RetryTasksError
from .models import Attempt, Encoded, Status, Task, Unreadable
from .options import Call
from .policy import policy_options
from .reports import ErrorReport
from .schema import advising_to_migrate
from .tasks import R, RetryTask, as_retry_task

STATUS = {
    Status.PENDING: TaskResultStatus.READY,
    Status.RETRYING: TaskResultStatus.READY,
    Status.RUNNING: TaskResultStatus.RUNNING,
    Status.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    Status.FAILED: TaskResultStatus.FAILED,
    Status.DISCARDED: TaskResultStatus.FAILED,
}


FAILURES = (Attempt.Outcome.FAILED, Attempt.Outcome.TIMED_OUT, Attempt.Outcome.LOST)
# Options of the backend that may stand beside BACKEND in TASKS.
BESIDE_BACKEND = ("MAX_ATTEMPTS", "BACKOFF")
LONGEST_NAME = 255
LONGEST_QUEUE_NAME = 100
LARGEST_ARGUMENTS = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryTaskResult(AnyTaskResult, Generic[R]):  # type: ignore[misc]  # the stubs forget it is frozen
    """A Task's state as ``django.tasks`` shows it; arguments keep the types the codec knows."""

    if TYPE_CHECKING:  # what django-stubs before 6.0, which has no django.tasks, leaves unknown
        task: RetryTask[..., R]
        id: str
        enqueued_at: datetime | None
        started_at: datetime | None
        finished_at: datetime | None
        last_attempted_at: datetime | None
        args: list[Any]
        kwargs: dict[str, Any]
        backend: str
        worker_ids: list[str]

        @property
        def return_value(self) -> R: ...
        @property
        def is_finished(self) -> bool: ...
        @property
        def attempts(self) -> int: ...

    def __post_init__(self) -> None:
        """Keep the arguments as they are: the codec has already refused what cannot be stored."""


class RetryTasksBackend(BaseTaskBackend):
    """Store Tasks in the site's database, to be run and retried by its django-q2 cluster.

    ``OPTIONS`` takes the options of :class:`RetryPolicy`: the policy of every task on this alias
    that names none of its own.
    """

    task_class = RetryTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    sends_alerts = True
    """Whether alerts, and events of Sentry, about its Tasks are sent."""

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._beside = {name: params[name] for name in BESIDE_BACKEND if name in params}

    @cached_property
    def policy_options(self) -> dict[str, Any]:
        """Return the policy options this alias is configured with.

        Raises:
            TypeError: an unknown option; the message names the nearest one.
            ImportError: the dotted path of ``backoff`` leads nowhere.
        """
        given = {name.lower(): value for name, value in {**self._beside, **self.options}.items()}
        if isinstance(given.get("backoff"), str):
            given["backoff"] = _imported_backoff(given["backoff"])
        return policy_options(given, owner=f"TASKS[{self.alias!r}]")

    def validate_task(self, task: ContractTask[..., Any]) -> None:
        """Refuse, with InvalidTask, a task that this backend cannot store."""
        definitions.refuse_unfit(task.func)
        owner = task.func.__qualname__
        if len(task.queue_name) > LONGEST_QUEUE_NAME:
            longest = f"longer than {LONGEST_QUEUE_NAME} characters"
            raise InvalidTask(f"{owner}: queue_name is {longest}: {task.queue_name!r}")
        try:
            super().validate_task(task)
        except InvalidTask as error:
            raise InvalidTask(f"{owner}: {error}") from None

    def enqueue(
        self, task: ContractTask[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> RetryTaskResult[Any]:
        """Store one Task in the caller's transaction; see :func:`lifecycle.enqueue`.

        Raises:
            InvalidTask: the task does not fit this backend, or stands not at its dotted path.
            TypeError: the call does not fit the function, or an argument cannot be stored.
        """
        return self.enqueue_many(task, [(args, kwargs)])[0]

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call]
    ) -> list[RetryTaskResult[Any]]:
        """Store one Task per call of (positional, keyword arguments), all or none."""
        self.validate_task(task)
        definition = as_retry_task(task).as_stored(backend=self.alias)
        rows = [*self._rows(definition, calls)]
        stored = [(row.args.value, row.kwargs.value) for row in rows]
        self.store(rows)
        results = [_enqueued(definition, *one) for one in zip(rows, stored, strict=True)]
        for result in results:
            task_enqueued.send_robust(type(self), task_result=result)
        return results

    def store(self, rows: Sequence[Task]) -> None:
        """Store new Tasks; what a backend for tests does otherwise."""
        lifecycle.enqueue(rows)

    def send_alert(self, sink: str, alert: Any, send: Callable[[], object]) -> None:
        """Send an alert about a Task of this backend; what a backend for tests does otherwise."""
        send()

    def get_result(self, result_id: str) -> RetryTaskResult[Any]:
        """Return the state of a Task by its id.

        Raises:
            TaskResultDoesNotExist: no such Task, or no such id could be.
            NotImportable: its function cannot be imported here.
        """
        pk = _pk_from(result_id)
        with advising_to_migrate():
            row = Task.objects.using(wakeups.alias()).filter(pk=pk).first() if pk else None
        if row is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(row)

    def _rows(self, task: RetryTask[..., Any], calls: Iterable[Call]) -> Iterable[Task]:
        name = _storable_name(task)
        policy = task.policy
        for args, kwargs in calls:
            encoded_args, encoded_kwargs = codec.dumps_arguments(
                task.signature, args, kwargs, owner=task.name
            )
            _refuse_large(task.name, len(encoded_args) + len(encoded_kwargs))
            yield Task(
                name=name,
                args=Encoded(encoded_args),
                kwargs=Encoded(encoded_kwargs),
                queue_name=task.queue_name,
                priority=task.priority,
                backend=self.alias,
                search_key=task.search_key_of(args, kwargs),
                options=dict(task.call_options),
                timeout=policy.timeout,
                max_retries=policy.max_retries,
                run_after=task.run_after and moments.as_moment(task.run_after),
            )


def resolve(name: str) -> RetryTask[..., Any]:
    """Return the task at a dotted path.

    Raises:
        NotImportable: its module is gone, does not import, or lacks the name.
        NotATask: something else than a task stands there.
    """
    try:
        found = import_string(name)
    except (Exception, SystemExit) as error:
        raise NotImportable(name) from error
    if not isinstance(found, ContractTask):
        raise NotATask(name, found)
    return as_retry_task(found)


def resolve_stored(row: Task) -> RetryTask[..., Any]:
    """Return the task of a stored Task, with the backend, queue and priority it was stored with.

    Raises:
        NotImportable, NotATask: as :func:`resolve`.
    """
    return as_stored(resolve(row.name), row)


def as_stored(definition: RetryTask[..., Any], row: Task) -> RetryTask[..., Any]:
    """Return a task with the backend, queue, priority and options that a Task was stored with."""
    return definition.as_stored(
        backend=row.backend,
        queue_name=row.queue_name,
        priority=row.priority,
        call_options=row.options,
    )


def imported(name: str) -> RetryTask[..., Any] | None:
    """Return the task at a dotted path, None where there is none. For workers: it imports it."""
    with suppress(RetryTasksError):
        return resolve(name)
    return None


def backend_of(row: Task) -> RetryTasksBackend:
    """Return the backend that a Task's alias names; a plain one where it names none of ours."""
    with suppress(ImproperlyConfigured):
        if isinstance(found := task_backends[row.backend], RetryTasksBackend):
            return found
    return RetryTasksBackend(alias=row.backend, params={"QUEUES": []})


def sender_of(task: RetryTask[..., Any]) -> type[BaseTaskBackend]:
    """Return the class that sends a task's signals: that of the backend its alias names.

    RetryTasksBackend where the alias names none of ours any more, for ``TASKS`` may have changed.
    """
    try:
        backend = task.get_backend()
    except (InvalidTask, ImproperlyConfigured):
        return RetryTasksBackend
    return type(backend) if isinstance(backend, RetryTasksBackend) else RetryTasksBackend


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
    return list(Attempt.objects.using(wakeups.alias()).filter(task=row.pk))


def _readable(value: Any, otherwise: Any) -> Any:
    return otherwise if isinstance(value, Unreadable) else value


def _enqueued(task: RetryTask[..., Any], row: Task, call: Call) -> RetryTaskResult[Any]:
    return _result(task, row, call, started_at=None, errors=[], worker_ids=[])


def _result(
    task: RetryTask[..., Any],
    row: Task,
    call: Call,
    *,
    started_at: datetime | None,
    errors: list[TaskError],
    worker_ids: list[str],
) -> RetryTaskResult[Any]:
    return RetryTaskResult(
        task=task,
        id=str(row.pk),
        status=STATUS[Status(row.status)],
        enqueued_at=row.enqueued_at,
        started_at=started_at,
        finished_at=row.finished_at,
        last_attempted_at=row.last_attempted_at,
        args=list(call[0]),
        kwargs=dict(call[1]),
        backend=row.backend,
        errors=errors,
        worker_ids=worker_ids,
    )


def _imported_backoff(path: str) -> Any:
    try:
        return import_string(path)
    except ImportError as error:
        raise ImportError(f"backoff {path!r} cannot be imported: {error}") from error


def _pk_from(result_id: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(result_id)
    except (ValueError, AttributeError, TypeError):
        return None


def _storable_name(task: RetryTask[..., Any]) -> str:
    name = task.module_path
    if task.func.__module__ == "__main__":
        raise InvalidTask(
            f"{name} is defined in the script being run, so a worker could not import it"
        )
    if len(name) > LONGEST_NAME:
        raise InvalidTask(f"{name} is longer than {LONGEST_NAME} characters: shorten its path")
    definitions.refuse_stranger(task.func)
    return name


def _refuse_large(name: str, size: int) -> None:
    if size > LARGEST_ARGUMENTS:
        raise TypeError(
            f"{name}(): the arguments take {size} bytes, more than {LARGEST_ARGUMENTS}: store them "
            "elsewhere and pass a key"
        )
