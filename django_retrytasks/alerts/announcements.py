"""Announce final failures: each receiver of ``task_failed`` is called by a Task of its own."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from django_retrytasks import conf, lifecycle
from django_retrytasks.database import writing
from django_retrytasks.exceptions import Discard, NotATask, NotImportable
from django_retrytasks.lifecycle.internal import POLICY, internal_task
from django_retrytasks.models import Attempt, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.signals import task_failed
from django_retrytasks.tasks import RetryTask, retry_task
from django_retrytasks.tasks.context import RetryTaskContext
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.ids import uuid7_of

from . import notices
from .calling import Receiver, give_time, synchronous
from .sending import enqueue_alerts

Failure = tuple[str, int]
"""A Task's id and the number of the attempt that failed for good."""
# The columns read for many failures at once.
READ = ("name", "queue_name", "backend", "priority", "stop_reason", "failure_group")
ANNOUNCED = (
    *("number", "finished_at"),
    *(f"task__{name}" for name in READ),
)


@retry_task(**POLICY)
def announce_failures(failed: Sequence[Failure]) -> None:
    """Enqueue one Task per failure and receiver, and one per due alert; all or none.

    A second run, after a crash, enqueues nothing twice.
    """
    attempts = _attempts_of(failed)
    if not attempts:
        raise Discard("the failed Tasks have been deleted")
    calls = [call for attempt in attempts for call in _calls(attempt)]
    groups = {group for attempt in attempts if (group := attempt.task.failure_group_id)}
    with writing():
        lifecycle.enqueue(calls, is_repeated=True)
        enqueue_alerts(notices.take_due(groups))


@retry_task(bind=True, **POLICY)
def call_receiver(self: RetryTaskContext, receiver: str, task_id: str, attempt_number: int) -> None:
    """Call one receiver; if it raises, it alone is retried."""
    attempt = _attempt_of(task_id, attempt_number)
    calls = list(_receivers_named(receiver))
    if not calls:
        give_time(self, f"no receiver {receiver}")
    for call in calls:
        call(signal=task_failed, sender=Task, task=attempt.task, attempt=attempt)


@retry_task(**POLICY)
def call_on_failure(task_id: str, attempt_number: int) -> None:
    """Call the ``on_failure`` of a Task's function; if it raises, it alone is retried."""
    attempt = _attempt_of(task_id, attempt_number)
    receiver = resolve(attempt.task.name).failure_receiver
    if receiver is not None:
        synchronous(receiver)(attempt.task, attempt)


def _calls(attempt: Attempt) -> Iterator[Task]:
    """Yield the Tasks that announce a failure; their ids are the same each time."""
    failure = [str(attempt.task_id), attempt.number]
    for name in dict.fromkeys([*_connected(), *conf.get().ON_FAILURE]):
        yield _call(call_receiver, [name, *failure], attempt, name)
    if _may_have_on_failure(attempt.task):
        yield _call(call_on_failure, failure, attempt, "")


def _call(to: RetryTask[..., Any], args: Sequence[Any], attempt: Attempt, receiver: str) -> Task:
    # Not the highest priority: there is one call per failure and receiver.
    pk, priority = _id_of(attempt, receiver), attempt.task.priority
    return internal_task(to.module_path, args, attempt.task, pk, priority)


def _may_have_on_failure(task: Task) -> bool:
    """Whether a Task's function has an ``on_failure``, or may have: its code is not importable."""
    try:
        return resolve(task.name).on_failure is not None
    except (NotImportable, NotATask):
        return task.stop_reason != StopReason.NOT_IMPORTABLE


def _attempts_of(failed: Sequence[Failure]) -> list[Attempt]:
    """Return the attempts of these failures, without texts; omit deleted ones."""
    attempts = Attempt.objects.select_related("task").only(*ANNOUNCED)
    tasks = {uuid.UUID(task_id) for task_id, _ in failed}
    attempts = attempts.filter(task__in=tasks, number__in={number for _, number in failed})
    by_failure = {(str(attempt.task_id), attempt.number): attempt for attempt in attempts}
    return [by_failure[pk, number] for pk, number in failed if (pk, number) in by_failure]


def _attempt_of(task_id: str, number: int) -> Attempt:
    attempts = Attempt.objects.select_related("task")
    attempt: Attempt | None = attempts.filter(task=uuid.UUID(task_id), number=number).first()
    if attempt is None:
        raise Discard("the failed Task has been deleted")
    return attempt


def _id_of(attempt: Attempt, receiver: str) -> uuid.UUID:
    key = f"{attempt.task_id} {attempt.number} {receiver}"
    return uuid7_of(attempt.finished_at, hashlib.sha256(key.encode()).digest()[:8])


def _receivers_named(name: str) -> Iterator[Receiver]:
    """Yield the connected receivers of a name; else the receiver that ``ON_FAILURE`` names."""
    connected = _connected()
    yield from connected.get(name, ())
    if name not in connected and name in conf.get().ON_FAILURE:
        yield synchronous(import_string(name))


def _connected() -> dict[str, list[Receiver]]:
    """Return the receivers connected to ``task_failed``, by name."""
    sync_receivers, async_receivers = task_failed._live_receivers(Task)
    by_name: dict[str, list[Receiver]] = {}
    for receiver in sync_receivers:
        by_name.setdefault(_name(receiver), []).append(receiver)
    for receiver in async_receivers:
        by_name.setdefault(_name(receiver), []).append(async_to_sync(receiver))
    return by_name


def _name(receiver: Receiver) -> str:
    owner = type(receiver)
    name = getattr(receiver, "__qualname__", owner.__qualname__)
    return f"{getattr(receiver, '__module__', owner.__module__)}.{name}"
