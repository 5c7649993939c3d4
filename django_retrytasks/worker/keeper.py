"""A second way to the sweep: each worker process of a cluster checks that it runs.

The first way, django-q2's scheduler, stops while one of its Schedules cannot run. An idle cluster
has no wake-up either. So a thread of the worker watches for an overdue sweep.
"""

from __future__ import annotations

import logging
import time
from threading import Thread
from typing import Any

from django.db import connections

from django_retrytasks.broker import clusters, sweep_schedule

logger = logging.getLogger("django_retrytasks")

# Seconds until a new worker first checks, and at least between two checks.
LEAST_WAIT = 10.0
LONGEST_WAIT = sweep_schedule.SWEEP_OVERDUE.total_seconds()


def connect() -> None:
    """Start the thread in each worker process that a cluster starts from now on."""
    clusters.on_worker_start(_start)


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
    try:
        Thread(target=_keep_for_ever, name="retrytasks-keeper", daemon=True).start()
    except RuntimeError:
        logger.exception("The thread that checks the sweep cannot be started")


def _keep_for_ever() -> None:
    wait = LEAST_WAIT
    while True:
        time.sleep(wait)
        try:
            wait = keep_swept()
        except Exception as error:
            logger.warning("The sweep cannot be checked; tried again in %s s: %s", wait, error)
        finally:
            # Unused until the next check, and perhaps broken.
            connections.close_all()
