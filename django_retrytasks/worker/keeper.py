"""A second way to the sweep: each worker process of a cluster sees to it that it is run.

The first one, django-q2's scheduler, stands still while one of its Schedules cannot run. No wake-up
helps then: an idle cluster has none. So a thread looks when the next sweep was last scheduled.
"""

from __future__ import annotations

import logging
import time
from threading import Thread
from typing import Any

from django.db import connections

from django_retrytasks.broker import clusters, sweep_schedule

logger = logging.getLogger("django_retrytasks")

# Seconds until a worker that was just started looks, and between two looks at least.
LEAST_WAIT = 10.0
LONGEST_WAIT = sweep_schedule.SWEEP_OVERDUE.total_seconds()


def connect() -> None:
    """Have the worker processes that clusters start from now on see to the sweep."""
    clusters.on_worker_start(_start)


def keep_swept() -> float:
    """Hand the sweep to this cluster if it is overdue; return the seconds until it may be again."""
    wait = sweep_schedule.sweep_overdue_in()
    if wait is None or wait > 0:
        return max(LEAST_WAIT, wait or LONGEST_WAIT)
    if sweep_schedule.hand_overdue_sweep():
        _tell_why()
    return LONGEST_WAIT


def _tell_why() -> None:
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
        logger.exception("No thread of this worker sees to the sweep")


def _keep_for_ever() -> None:
    wait = LEAST_WAIT
    while True:
        time.sleep(wait)
        try:
            wait = keep_swept()
        except Exception as error:
            logger.warning("The sweep cannot be seen to, tried again in %s s: %s", wait, error)
        finally:
            # Not needed again for a while; and it may be the one that broke.
            connections.close_all()
