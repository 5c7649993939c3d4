"""The internal Tasks that announce a final failure, each stored and retried like any other."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from . import conf, lifecycle, wakeups
from .exceptions import Discard
from .models import Attempt, Task
from .policy import PolicyOptions
from .signals import task_failed
from .tasks import RetryTask, retry_task

Receiver = Callable[..., Any]

# All of them, so that nothing a site sets for its own tasks quiets an announcement.
POLICY: PolicyOptions = {
    "max_retries": lifecycle.ANNOUNCE_RETRIES,
    "countdown": 5,
    "backoff": 2,
    "max_countdown": 3600,
    "jitter": True,
    "retry_on": (Exception,),
    "no_retry_on": (),
    "retry_for": None,
    "max_crashes": lifecycle.ANNOUNCE_RETRIES,
    "timeout": 300,
}


@retry_task(**POLICY)
def announce_failure(task_id: str, attempt_number: int) -> None:
    """Enqueue one Task per ``task_failed`` receiver and per alert, all or none."""
    row, _ = _failure(task_id, attempt_number)
    calls: list[tuple[RetryTask[..., None], str]]
    calls = [(call_receiver, name) for name in dict.fromkeys(_names())]
    calls += [(send_alert, path) for path in conf.get().ALERTS]
    lifecycle.enqueue([_internal(to, row, name, attempt_number) for to, name in calls])


@retry_task(**POLICY)
def call_receiver(receiver: str, task_id: str, attempt_number: int) -> None:
    """Call the ``task_failed`` receiver of this name; it is retried alone when it raises."""
    task, attempt = _failure(task_id, attempt_number)
    for connected, is_async in _receivers():
        if _name(connected) == receiver:
            call = async_to_sync(connected) if is_async else connected
            call(signal=task_failed, sender=Task, task=task, attempt=attempt)


@retry_task(**POLICY)
def send_alert(path: str, task_id: str, attempt_number: int) -> None:
    """Call the alert at this dotted path with the Task and its last Attempt."""
    import_string(path)(*_failure(task_id, attempt_number))


def _failure(task_id: str, attempt_number: int) -> tuple[Task, Attempt]:
    attempts = Attempt.objects.using(wakeups.alias()).select_related("task")
    try:
        attempt = attempts.get(task=uuid.UUID(task_id), number=attempt_number)
    except Attempt.DoesNotExist:
        raise Discard("the failed Task has been deleted") from None
    return attempt.task, attempt


def _internal(to: RetryTask[..., Any], failed: Task, name: str, attempt_number: int) -> Task:
    return Task(
        name=to.module_path,
        args=[name, str(failed.pk), attempt_number],
        kwargs={},
        queue_name=failed.queue_name,
        priority=lifecycle.ANNOUNCE_PRIORITY,
        backend=failed.backend,
        internal=True,
        max_retries=to.policy.max_retries,
        timeout=to.policy.timeout,
    )


def _names() -> Iterator[str]:
    return (_name(receiver) for receiver, _ in _receivers())


def _receivers() -> Iterator[tuple[Receiver, bool]]:
    sync_receivers, async_receivers = task_failed._live_receivers(Task)
    yield from ((receiver, False) for receiver in sync_receivers)
    yield from ((receiver, True) for receiver in async_receivers)


def _name(receiver: Receiver) -> str:
    owner = type(receiver)
    name = getattr(receiver, "__qualname__", owner.__qualname__)
    return f"{getattr(receiver, '__module__', owner.__module__)}.{name}"
