"""Durable, policy-driven retries for background work on a site's own django-q2 cluster."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exceptions import Cancelled, Discard, Retry, Snooze
    from .policy import Breaker, RetryPolicy
    from .tasks import RetryTask, retry_task
    from .tasks.context import RetryTaskContext
    from .tasks.periodic import periodic
    from .values.progress import Progress

__version__ = "0.1.0"
__all__ = [
    "Breaker",
    "Cancelled",
    "Discard",
    "Progress",
    "Retry",
    "RetryPolicy",
    "RetryTask",
    "RetryTaskContext",
    "Snooze",
    "periodic",
    "retry_task",
]

_HOMES = {
    "Breaker": "policy",
    "Cancelled": "exceptions",
    "Discard": "exceptions",
    "Progress": "values.progress",
    "Retry": "exceptions",
    "RetryPolicy": "policy",
    "RetryTask": "tasks",
    "RetryTaskContext": "tasks.context",
    "Snooze": "exceptions",
    "periodic": "tasks.periodic",
    "retry_task": "tasks",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use: Django imports this module before its app registry is ready,
    # and the models behind these names may be imported only afterwards.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
