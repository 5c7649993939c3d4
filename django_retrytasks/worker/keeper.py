"""Keep each worker process of a cluster noted, and the sweep running: a second way to the sweep.

A new worker opens its connection. Then a thread of it notes every 15 seconds that the process
lives, at no cost for a Task.

The first way to the sweep, django-q2's scheduler, stops while one of its Schedules cannot run. An
idle cluster has no wake-up either. So the thread watches for an overdue sweep, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Thread
from typing import Any, TypeVar

from django.db import connections

from django_retrytasks.broker import clusters, sweep_schedule
from django_retrytasks.lifecycle import workers
from django_retrytasks.lifecycle.lanes import survey

T = TypeVar("T")

logger = logging.getLogger("django_retrytasks")

# Seconds until a new worker first checks, and at least between two checks.
LEAST_WAIT = 10.0
LONGEST_WAIT = sweep_schedule.SWEEP_OVERDUE.total_seconds()


# When this process last began to serve a wake-up, by the monotonic clock; None: not yet.
_served: float | None = None


def connect() -> None:
    """Start the thread in each worker process that a cluster starts from now on."""
    clusters.on_worker_start(_start)


def note_serving() -> None:
    """Note, in memory, that this worker looks for due Tasks."""
    global _served
    _served = time.monotonic()


def note_worker(started: float) -> None:
    """Store that this worker lives, and when it last looked for due Tasks.

    Args:
        started: when it started, in seconds of the monotonic clock.
    """
    now = time.monotonic()
    idle = None if _served is None else now - _served
    name, cluster = clusters.worker_name(), clusters.own_key()
    workers.note(name, cluster, age=now - started, idle=idle)


def keep_swept() -> float:
    """Hand the sweep to this cluster if it is overdue; return the seconds until the next check."""
    wait = sweep_schedule.sweep_overdue_in()
    if wait is None or wait > 0:
        return max(LEAST_WAIT, wait or LONGEST_WAIT)
    if sweep_schedule.hand_overdue_sweep():
        _log_reason()
    return LONGEST_WAIT


def _log_reason() -> None:
    faults = sweep_schedule.broken_schedules()
    for fault in faults:
        words = "The scheduler of django-q2 stands still: it cannot run the schedule %s"
        logger.error(words, fault)
    if not faults:
        logger.info("The sweep was overdue: this cluster runs it")


def _start(**details: Any) -> None:
    # The first Task would wait for the connection, and for what the database reads on a new one.
    _tried("This worker cannot look for Tasks yet", survey)
    try:
        Thread(target=_keep_for_ever, name="retrytasks-keeper", daemon=True).start()
    except RuntimeError:
        logger.exception("The thread that keeps a worker cannot be started")


def _keep_for_ever() -> None:
    started = time.monotonic()
    check_at = started + LEAST_WAIT
    while True:
        _tried("This worker cannot be noted", partial(note_worker, started))
        if time.monotonic() >= check_at:
            wait = _tried("The sweep cannot be checked", keep_swept)
            check_at = time.monotonic() + (wait or LEAST_WAIT)
        # Unused until the next time, and perhaps broken.
        connections.close_all()
        time.sleep(max(0.0, min(workers.BEAT, check_at - time.monotonic())))


def _tried(failure: str, act: Callable[[], T]) -> T | None:
    """Call a function; on an error log it and return None."""
    try:
        return act()
    except Exception as error:
        logger.warning("%s; tried again in some seconds: %s", failure, error)
    return None
