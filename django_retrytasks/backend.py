"""The backend of ``django.tasks`` that stores Tasks."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django.utils.module_loading import import_string

from . import lifecycle
from .database import DatabaseNow
from .database.schema import advising_to_migrate
from .models import Task
from .models.tasks import NAME_LENGTH, QUEUE_NAME_LENGTH
from .policy import policy_options
from .tasks import RetryTask, arguments, as_retry_task, expiry, functions, tracing
from .tasks.result import RetryTaskResult
from .tasks.results import enqueued_result, result_of, results_of
from .tasks.storing import Call, StoringBackend
from .values import moments
from .values.checked import as_datetime
from .values.contract import (
    BaseTaskBackend,
    InvalidTask,
    TaskResultDoesNotExist,
    is_heard,
    log_task_enqueued,
    task_backends,
    task_enqueued,
)
from .values.contract import Task as ContractTask

# Options of the backend beside BACKEND in TASKS.
BESIDE_BACKEND = ("MAX_ATTEMPTS", "BACKOFF")
# Calls that tell receivers, collected until a block ends; None: they are told at once.
_told_later: ContextVar[list[Callable[[], object]] | None] = ContextVar("told_later", default=None)


class RetryTasksBackend(StoringBackend):
    """Store Tasks in the site's database; its django-q2 cluster runs and retries them.

    ``OPTIONS`` takes the options of :class:`RetryPolicy`, as defaults of the tasks on this alias.
    """

    task_class = RetryTask
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True
    sends_alerts = True
    """Whether to send alerts and Sentry events about its Tasks."""

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self._beside = {name: params[name] for name in BESIDE_BACKEND if name in params}

    @cached_property
    def policy_options(self) -> dict[str, Any]:
        """Return the policy options configured for this alias.

        Raises:
            TypeError: an unknown option; the message gives the nearest name.
            ImportError: the dotted path of ``backoff`` leads nowhere.
        """
        options = {name.lower(): value for name, value in {**self._beside, **self.options}.items()}
        if isinstance(options.get("backoff"), str):
            options["backoff"] = _imported_backoff(options["backoff"])
        return policy_options(options, owner=f"TASKS[{self.alias!r}]")

    def validate_task(self, task: ContractTask[..., Any]) -> None:
        """Raise InvalidTask for a task that this backend cannot store."""
        functions.refuse_unfit(task.func)
        owner = task.func.__qualname__
        if len(task.queue_name) > QUEUE_NAME_LENGTH:
            longest = f"longer than {QUEUE_NAME_LENGTH} characters"
            raise InvalidTask(f"{owner}: queue_name is {longest}: {task.queue_name!r}")
        try:
            super().validate_task(task)
            if task.run_after:
                as_datetime("run_after", task.run_after)
        except (InvalidTask, ValueError) as error:
            raise InvalidTask(f"{owner}: {error}") from None

    def enqueue(
        self, task: ContractTask[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> RetryTaskResult[Any]:
        """Store one Task in the caller's transaction; see :func:`lifecycle.enqueue`.

        If a Task holds the unique key, return its result instead; ``created`` is then False.

        Raises:
            InvalidTask: the task does not fit this backend, or is not at its dotted path.
            TypeError: the call does not fit the function, or an argument cannot be stored.
            ValueError: it would expire before its ``run_after``; or ``unique`` fails.
            OperationalError: another transaction enqueues the same unique key for too long.
        """
        return self.enqueue_many(task, [(args, kwargs)])[0]

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call], *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        """Store one Task per pair of (positional, keyword) arguments, all or none.

        A call whose unique key a Task holds, maybe that of an earlier call, gets that one's result.

        Args:
            results: whether to return the results. Without them, and without receivers of
                ``task_enqueued``, at most a thousand rows are in memory at once.
        """
        self.validate_task(task)
        definition = as_retry_task(task).as_stored(backend=self.alias)
        rows = self._rows(definition, calls)
        tells = is_heard(task_enqueued, log_task_enqueued, logging.DEBUG)
        if not results and not tells:
            tracing.store(definition, rows, self.store)
            return []
        rows = list(rows)
        held, now = tracing.store(definition, rows, self.store), timezone.now()
        stored = [row for row in rows if row.pk not in held]
        enqueued = {row.pk: enqueued_result(definition, row, now) for row in stored}
        if tells:
            _tell_enqueued(type(self), enqueued.values())
        if held and results:
            found = {pk: replace(result, created=False) for pk, result in enqueued.items()}
            holders = {holder.pk: holder for holder in held.values() if holder.pk not in found}
            found |= self.find(definition, list(holders.values()))
            return [enqueued.get(row.pk) or found[held[row.pk].pk] for row in rows]
        return list(enqueued.values()) if results else []

    def store(self, rows: Iterable[Task]) -> lifecycle.Held:
        """Store new Tasks; return the holders of unique keys for the Tasks that it did not store.

        Backends for tests override this.
        """
        return lifecycle.enqueue(rows)

    def find(
        self, task: RetryTask[..., Any], rows: Collection[Task]
    ) -> Mapping[uuid.UUID, RetryTaskResult[Any]]:
        """Return the results of the task's stored Tasks; backends for tests override this."""
        return results_of(task, rows)

    def send_alert(self, sink: str, alert: Any, send: Callable[[], object]) -> None:
        """Send an alert about a Task of this backend; backends for tests override this."""
        send()

    def get_result(self, result_id: str) -> RetryTaskResult[Any]:
        """Return the state of a Task by its id.

        Raises:
            TaskResultDoesNotExist: no such Task, or an invalid id.
            NotImportable: the function cannot be imported here.
        """
        pk = _pk_from(result_id)
        with advising_to_migrate():
            row = Task.objects.filter(pk=pk).first() if pk else None
        if row is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(row)

    def _rows(self, task: RetryTask[..., Any], calls: Iterable[Call]) -> Iterable[Task]:
        name = _storable_name(task)
        policy, period = task.policy, task.unique_for
        expires_at = expiry.expires_at(task.name, expires=task.expires, run_after=task.run_after)
        unique_until = DatabaseNow.after(timedelta(seconds=period)) if period else None
        for args, kwargs in calls:
            yield Task.new(
                name=name,
                **arguments.stored(task, args, kwargs),
                queue_name=task.queue_name,
                priority=task.priority,
                backend=self.alias,
                options=dict(task.call_options),
                timeout=policy.timeout,
                max_retries=policy.max_retries,
                run_after=task.run_after and moments.as_moment(task.run_after),
                expires_at=expires_at,
                unique_until=unique_until,
            )


@contextmanager
def telling_afterwards() -> Iterator[None]:
    """Have receivers of ``task_enqueued`` called at the end, after a transaction that is inside.

    A failed query of a receiver breaks the transaction that it runs in. If the block raises, none
    is called.
    """
    later: list[Callable[[], object]] = []
    token = _told_later.set(later)
    try:
        yield
    finally:
        _told_later.reset(token)
    for tell in later:
        tell()


def _tell_enqueued(sender: type[Any], enqueued: Iterable[RetryTaskResult[Any]]) -> None:
    for result in enqueued:
        tell = partial(task_enqueued.send_robust, sender, task_result=result)
        if (later := _told_later.get()) is None:
            tell()
        else:
            later.append(tell)


def backend_of(row: Task) -> RetryTasksBackend:
    """Return the backend of a Task's alias; a default one if the alias is none of ours."""
    with suppress(ImproperlyConfigured):
        if isinstance(backend := task_backends[row.backend], RetryTasksBackend):
            return backend
    return RetryTasksBackend(alias=row.backend, params={"QUEUES": []})


def sender_of(task: ContractTask[..., Any]) -> type[BaseTaskBackend]:
    """Return the sender of a task's signals: the class of its backend.

    RetryTasksBackend if the alias is no longer ours, since ``TASKS`` may have changed.
    """
    try:
        backend = task.get_backend()
    except (InvalidTask, ImproperlyConfigured):
        return RetryTasksBackend
    return type(backend) if isinstance(backend, RetryTasksBackend) else RetryTasksBackend


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
    if len(name) > NAME_LENGTH:
        raise InvalidTask(f"{name} is longer than {NAME_LENGTH} characters: shorten its path")
    functions.refuse_stranger(task.func)
    return name
