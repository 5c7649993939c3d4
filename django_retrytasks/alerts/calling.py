"""Call foreign code from a Task of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from asgiref.sync import async_to_sync, iscoroutinefunction

from django_retrytasks.exceptions import Discard
from django_retrytasks.tasks.context import RetryTaskContext

Receiver = Callable[..., Any]

# Over a minute by the policy below.
DEPLOY_RETRIES = 4


def give_time(context: RetryTaskContext, lack: str) -> NoReturn:
    """Give up on what is not here, after a minute: in a deploy this worker may be an old one."""
    if context.retry_count < DEPLOY_RETRIES:
        raise LookupError(f"this worker knows {lack}")
    raise Discard(f"{lack} any more")


def synchronous(receiver: Receiver) -> Receiver:
    return async_to_sync(receiver) if iscoroutinefunction(receiver) else receiver
