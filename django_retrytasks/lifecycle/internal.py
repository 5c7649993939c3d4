"""Internal Tasks: announcements, alerts and operations, stored and retried like other Tasks."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django_retrytasks.models import Task
from django_retrytasks.policy import PolicyOptions
from django_retrytasks.values.contract import DEFAULT_TASK_BACKEND_ALIAS, DEFAULT_TASK_QUEUE_NAME
from django_retrytasks.values.ids import uuid7

# Announcements come before all other Tasks, and run in a paused queue as well.
ANNOUNCE_PRIORITY = 100
ANNOUNCE_RETRIES = 20
TIMEOUT = 300.0
# Finished internal Tasks are of no interest.
INTERNAL_RETENTION = timedelta(hours=1)
# Every option, so that no default of the site can suppress an announcement.
POLICY: PolicyOptions = {
    "max_retries": ANNOUNCE_RETRIES,
    "countdown": 5,
    "backoff": 2,
    "max_countdown": 3600,
    "jitter": True,
    "retry_on": (Exception,),
    "no_retry_on": (),
    "retry_for": None,
    "max_crashes": ANNOUNCE_RETRIES,
    "timeout": TIMEOUT,
}


def internal_task(
    name: str,
    args: Sequence[Any],
    beside: Task | None = None,
    pk: uuid.UUID | None = None,
    priority: int = ANNOUNCE_PRIORITY,
) -> Task:
    """Return an internal Task, unsaved. It is claimed alone, so that a crash repeats no other call.

    Args:
        name: the dotted path of its function, which is decorated with `POLICY`.
        args: its arguments.
        beside: the Task it is about, whose queue it runs in; None: the default queue.
        pk: its id; None: a new one.
        priority: from -100 to 100.
    """
    return Task(
        pk=pk or uuid7(),
        name=name,
        args=list(args),
        kwargs={},
        queue_name=beside.queue_name if beside else DEFAULT_TASK_QUEUE_NAME,
        priority=priority,
        backend=beside.backend if beside else DEFAULT_TASK_BACKEND_ALIAS,
        internal=True,
        suspect=True,
        max_retries=ANNOUNCE_RETRIES,
        timeout=TIMEOUT,
    )
