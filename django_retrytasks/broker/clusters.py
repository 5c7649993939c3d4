"""The site's clusters, and the worker process this code runs in, as django-q2 has them."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.conf import settings
from django_q.conf import Conf
from django_q.signals import post_spawn

# Seconds past a Task's timeout until django-q2's guard may end its worker: time to settle.
GRACE = 15


def poll_seconds() -> float:
    """Return the seconds between two looks of an idle cluster."""
    return float(Conf.POLL)


def keys() -> list[str]:
    """Return the keys of the site's clusters, the default cluster's first."""
    config: Mapping[str, Any] = getattr(settings, "Q_CLUSTER", None) or {}
    default = str(config.get("cluster_name") or config.get("name") or "default")
    return [default, *(config.get("ALT_CLUSTERS") or {})]


def key_for(queue_name: str) -> str:
    """Return the key of the cluster that serves a queue.

    A queue listed in ``ALT_CLUSTERS`` is served by the cluster of that name, every other one by
    the default cluster.
    """
    return keys_for([queue_name])[queue_name]


def keys_for(queue_names: Iterable[str]) -> dict[str, str]:
    """Return the keys of the clusters that serve these queues, by queue."""
    default, *others = keys()
    return {name: name if name in others else default for name in queue_names}


def own_key() -> str:
    """Return the key of the cluster that ``qcluster`` would run in this environment."""
    return str(Conf.CLUSTER_NAME)


def workers_of(key: str) -> int:
    """Return how many workers the cluster of this key has."""
    others = getattr(settings, "Q_CLUSTER", {}).get("ALT_CLUSTERS") or {}
    return int((others.get(key) or {}).get("workers") or Conf.WORKERS)


def set_guard(seconds: float | None) -> None:
    """Have django-q2's guard end this worker if it is still busy in ``seconds``; None: never.

    The guard ends what no Python exception can, such as a hang in C. It compares its float32 timer
    with 0 after taking a cycle off (django-q2 1.11 cluster.py, guard), so only whole seconds do.
    """
    timer = _guard()
    if timer is not None:
        timer.value = -1 if seconds is None else math.ceil(seconds)


def _guard() -> Any:
    """Return the timer by which django-q2 guards this process; None where it is no worker."""
    return getattr(multiprocessing.current_process(), "timer", None)


def on_worker_start(act: Callable[[], None]) -> None:
    """Have each worker process of a cluster call a function when it starts.

    It must not raise: django-q2 would end the worker.
    """

    def started(**details: Any) -> None:
        # In sync mode django-q2 calls its worker in the process that enqueues.
        if _guard() is not None:
            act()

    post_spawn.connect(started, weak=False, dispatch_uid=f"{act.__module__}.{act.__qualname__}")
