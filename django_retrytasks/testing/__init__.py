"""Test code that enqueues: run Tasks in the test's process, let time pass, assert what happened."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .advancing import advance
    from .assertions import assert_alerted, assert_attempts, assert_enqueued
    from .backends import DummyBackend, ImmediateBackend, KeptAlert
    from .clusters import RunningCluster, running_cluster
    from .draining import NotDrained, drain, step, sweep
    from .failures import failing
    from .kit import RetryTasksKit
    from .timelines import timeline

__all__ = [
    "DummyBackend",
    "ImmediateBackend",
    "KeptAlert",
    "NotDrained",
    "RetryTasksKit",
    "RunningCluster",
    "advance",
    "assert_alerted",
    "assert_attempts",
    "assert_enqueued",
    "drain",
    "failing",
    "running_cluster",
    "step",
    "sweep",
    "timeline",
]

_HOMES = {
    "DummyBackend": "backends",
    "ImmediateBackend": "backends",
    "KeptAlert": "backends",
    "NotDrained": "draining",
    "RetryTasksKit": "kit",
    "RunningCluster": "clusters",
    "advance": "advancing",
    "assert_alerted": "assertions",
    "assert_attempts": "assertions",
    "assert_enqueued": "assertions",
    "drain": "draining",
    "failing": "failures",
    "running_cluster": "clusters",
    "step": "draining",
    "sweep": "draining",
    "timeline": "timelines",
}


def __getattr__(name: str) -> Any:
    # Resolved on first use: pytest imports the plugin beside this before Django is configured.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
