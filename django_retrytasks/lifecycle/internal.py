"""Internal Tasks: what announces failures and does operations, stored and retried like others."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django_retrytasks.models import Task
from django_retrytasks.policy import PolicyOptions
from django_retrytasks.values.contract import DEFAULT_TASK_BACKEND_ALIAS, DEFAULT_TASK_QUEUE_NAME
from django_retrytasks.values.ids import uuid7

# What comes before all other Tasks, and runs in a paused queue as well.
ANNOUNCE_PRIORITY = 100
ANNOUNCE_RETRIES = 20
TIMEOUT = 300.0
# They are of no interest once done.
INTERNAL_RETENTION = timedelta(hours=1)
# All of them, so that nothing a site sets for its own tasks quiets an announcement.
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
    """Return an internal Task, to run in the queue of the Task it is about.

    Claimed alone, it is settled at once, so that a crash repeats no other one's call.

    Args:
        name: the dotted path of its function, which is decorated with `POLICY`.
        args: its arguments.
        beside: the Task it is about; None: it runs in the default queue.
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
