"""The work watched from outside: its health, its metrics, its traces and its log lines."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .reading import COUNT_LIMIT, Health, QueueHealth, check, running

__all__ = [
    "COUNT_LIMIT",
    "Health",
    "QueueHealth",
    "check",
    "running",
]


def __getattr__(name: str) -> Any:
    # Resolved on first use: LOGGING names a filter of this chapter, and is read before the models.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".reading", __name__), name)
