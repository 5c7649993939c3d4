"""The clusters that django-q2 is configured with, and the worker process that runs this code."""

from __future__ import annotations

import math
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from django_q.conf import Conf
from django_q.signals import post_spawn

from django_retrytasks import conf

# Seconds between a Task's timeout and the end of its worker by django-q2's guard: time to settle.
GRACE = 15
# The variable that names the cluster which django-q2's qcluster runs; without it, the default one.
NAME_VARIABLE = "Q_CLUSTER_NAME"
# django-q2's default of ``poll``. Its Conf holds the settings of this process's own cluster.
DEFAULT_POLL = 0.2


def keys() -> list[str]:
    """Return the keys of the site's clusters, the default cluster's first."""
    config = conf.q_cluster()
    default = str(config.get("cluster_name") or config.get("name") or "default")
    return [default, *conf.alternatives()]


def key_for(queue_name: str) -> str:
    """Return the key of the cluster that serves a queue.

    That is the cluster with the queue's name if ``ALT_CLUSTERS`` lists it, else the default one.
    """
    return keys_for([queue_name])[queue_name]


def keys_for(queue_names: Iterable[str]) -> dict[str, str]:
    """Return the key of the cluster that serves each queue, by queue."""
    default, *others = keys()
    return {name: name if name in others else default for name in queue_names}


def environment_of(key: str) -> dict[str, str]:
    """Return this process's environment for a ``qcluster`` that runs the cluster with this key."""
    rest = {name: value for name, value in os.environ.items() if name != NAME_VARIABLE}
    # django-q2 looks the variable's value up in ALT_CLUSTERS, which a site may not have.
    return rest if key == keys()[0] else {**rest, NAME_VARIABLE: key}


def own_key() -> str:
    """Return the key of the cluster that ``qcluster`` would run in this environment."""
    return str(Conf.CLUSTER_NAME)


def workers_of(key: str) -> int:
    """Return the number of workers of the cluster with this key."""
    return int(conf.alternatives().get(key, {}).get("workers") or Conf.WORKERS)


def poll_of(key: str) -> float:
    """Return the seconds between two polls of the idle cluster with this key."""
    return float(_settings_of(key).get("poll", DEFAULT_POLL))


def broker_path_of(key: str) -> str:
    """Return the dotted path of the broker class of the cluster with this key; "": none is set."""
    return str(_settings_of(key).get("broker_class") or "")


def _settings_of(key: str) -> Mapping[str, Any]:
    return {**conf.q_cluster(), **conf.alternatives().get(key, {})}


def worker_name() -> str:
    """Return the name of this worker: host, process id and process name, separated by colons."""
    return _worker_name(os.getpid())


@cache
def _worker_name(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{multiprocessing.current_process().name}"[:255]


def set_guard(seconds: float | None) -> None:
    """Let django-q2's guard end this worker after ``seconds``, at once from 0; None: never.

    The guard ends a worker that no Python exception can interrupt, such as one that hangs in C. It
    takes its cycle off a float32 timer, and ends the worker at exactly 0 (django-q2 1.11
    cluster.py, guard). So only whole seconds work.
    """
    timer = _guard()
    if timer is not None:
        timer.value = -1 if seconds is None else max(math.ceil(seconds), 0)


def _guard() -> Any:
    """Return the timer of django-q2's guard for this process; None if it is no worker."""
    return getattr(multiprocessing.current_process(), "timer", None)


def on_worker_start(act: Callable[[], None]) -> None:
    """Make each worker process of a cluster call a function when it starts.

    The function must not raise: django-q2 would end the worker.
    """

    def started(**details: Any) -> None:
        # In sync mode, django-q2 calls its worker in the enqueuing process.
        if _guard() is not None:
            act()

    post_spawn.connect(started, weak=False, dispatch_uid=f"{act.__module__}.{act.__qualname__}")
