"""Call the site's code from an internal Task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from asgiref.sync import async_to_sync, iscoroutinefunction

from django_retrytasks.exceptions import Discard
from django_retrytasks.tasks.context import RetryTaskContext

Receiver = Callable[..., Any]

# More than a minute by the policy of internal Tasks.
DEPLOY_RETRIES = 4


def give_time(context: RetryTaskContext, lack: str) -> NoReturn:
    """Retry for about a minute, since an old worker may lack the code in a deploy; then discard."""
    if context.retry_count < DEPLOY_RETRIES:
        raise LookupError(f"this worker knows {lack}")
    raise Discard(f"{lack} any more")


def synchronous(receiver: Receiver) -> Receiver:
    return async_to_sync(receiver) if iscoroutinefunction(receiver) else receiver
