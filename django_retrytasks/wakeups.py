"""Wake-ups: the OrmQ rows that make a django-q2 cluster look for due Tasks.

The only file that imports django_q. A wake-up carries no Task, only the key of a cluster and the
moment it was written for, so it may be lost, late or doubled without harm.
"""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, transaction
from django.db.models import Q
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ, Schedule
from django_q.signals import post_spawn
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from . import moments, schedules

WORKER_ENTRY = "django_retrytasks.worker.run"
SWEEP_ENTRY = "django_retrytasks.worker.sweep"
SWEEP_NAME = "django-retrytasks sweep"
SWEEP_MINUTES = 1
# django-q2 looks at its Schedules every 30 s.
SWEEP_OVERDUE = timedelta(minutes=SWEEP_MINUTES, seconds=40)
# What was handed over so far in the future was by a clock that has been set back since.
SET_BACK = timedelta(minutes=10)
# Wake-ups further ahead are left to the sweep, so that OrmQ stays small.
HORIZON = timedelta(minutes=2 * SWEEP_MINUTES)
# A wake-up for now is dated back, to be seen by clusters on hosts whose clocks are behind.
CLOCKS_APART = timedelta(hours=1)
# Seconds past a Task's timeout until django-q2's guard may end its worker: time to settle.
GRACE = 15
# How many Schedules are looked at for those that cannot run.
SCHEDULES_READ = 1000


class Wake(NamedTuple):
    """When to wake a cluster."""

    at: datetime
    """Host time from which it is visible to the cluster."""
    due: datetime | None = None
    """Database time, as far as it is known, before which waking is in vain; a worker woken earlier
    rings again."""


def now() -> Wake:
    """Return a wake for this moment, whatever a cluster's host takes the time to be."""
    return Wake(timezone.now() - CLOCKS_APART)


def later(seconds: float, due: datetime) -> Wake:
    """Return a wake for ``seconds`` from now, the moment that the database will call ``due``."""
    return Wake(moments.after(timezone.now(), timedelta(seconds=seconds)), due)


def alias() -> str:
    """Return the alias of the database that holds both the wake-ups and the Tasks."""
    return Conf.ORM or DEFAULT_DB_ALIAS


def is_sync() -> bool:
    """Whether ``Q_CLUSTER["sync"]`` is on: no cluster runs, Tasks run inline after commit."""
    return bool(Conf.SYNC)


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


def ring(key: str, wakes: Sequence[Wake]) -> list[int | None]:
    """Write wake-ups for the cluster of this key, in the caller's transaction; return their ids.

    An id is None where the database does not return those of rows inserted together (MySQL).
    """
    rows = [OrmQ(key=key, payload=_payload(key, wake.due), lock=_lock(wake)) for wake in wakes]
    if len(rows) == 1:
        rows[0].save(using=alias(), force_insert=True)
    else:
        OrmQ.objects.using(alias()).bulk_create(rows)
    return [row.pk for row in rows]


def delete(ids: Iterable[int | None]) -> None:
    """Delete these wake-ups: what they were written for is being run."""
    present = [pk for pk in ids if pk is not None]
    if present:
        rows = OrmQ.objects.using(alias()).filter(pk__in=present)
        rows._raw_delete(rows.db)


def waiting_count(key: str) -> int:
    """Count the rows that a cluster of this key could pull now."""
    rows = OrmQ.objects.using(alias()).filter(key=key, lock__lte=timezone.now())
    return int(rows.count())


def waits_until(wakeup_id: int | None) -> datetime | None:
    """Return the host time from which a wake-up is visible; None where it waits no longer."""
    rows = OrmQ.objects.using(alias()).filter(pk=wakeup_id)
    lock: datetime | None = rows.values_list("lock", flat=True).first()
    return lock


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


def ensure_sweep() -> None:
    """Have the cluster run the sweep every minute: one Schedule row, made if it is missing."""
    Schedule.objects.using(alias()).get_or_create(
        name=SWEEP_NAME,
        defaults={
            "func": SWEEP_ENTRY,
            "schedule_type": Schedule.MINUTES,
            "minutes": SWEEP_MINUTES,
            "repeats": -1,
            "kwargs": "q_options={'save': False, 'ack_failure': True}",
        },
    )


def swept_at() -> datetime | None:
    """Return when a cluster was last handed the sweep, by its clock; None: not scheduled."""
    rows = _sweeps().order_by("-next_run")
    next_run: datetime | None = rows.values_list("next_run", flat=True).first()
    return next_run - timedelta(minutes=SWEEP_MINUTES) if next_run else None


def hand_overdue_sweep() -> bool:
    """Hand the sweep to this cluster if django-q2 has not for longer than it should take.

    One process does where several try. Returns whether it was handed.
    """
    moment, step = timezone.now(), timedelta(minutes=SWEEP_MINUTES)
    is_long_ago = Q(next_run__lte=moment + step - SWEEP_OVERDUE)
    is_yet_to_be = Q(next_run__gte=moment + step + SET_BACK)
    with transaction.atomic(using=alias()):
        if not _sweeps().filter(is_long_ago | is_yet_to_be).update(next_run=moment + step):
            return False
        payload = _signed("sweep", SWEEP_ENTRY)
        OrmQ.objects.using(alias()).create(key=own_key(), payload=payload, lock=now().at)
    return True


def sweep_overdue_in() -> float | None:
    """Return the seconds until the sweep is overdue, 0 or below if it is; None: not scheduled."""
    at = swept_at()
    if at is None:
        return None
    ago = moments.between(at, timezone.now())
    return 0.0 if ago <= -SET_BACK else (SWEEP_OVERDUE - ago).total_seconds()


def has_sweep() -> bool:
    """Whether the Schedule row of the sweep exists and has not been switched off."""
    return bool(_sweeps().exists())


def _sweeps() -> Any:
    return Schedule.objects.using(alias()).filter(func=SWEEP_ENTRY).exclude(repeats=0)


def on_worker_start(act: Callable[[], None]) -> None:
    """Have each worker process of a cluster call a function when it starts.

    It must not raise: django-q2 would end the worker.
    """

    def started(**details: Any) -> None:
        # In sync mode django-q2 calls its worker in the process that enqueues.
        if _guard() is not None:
            act()

    post_spawn.connect(started, weak=False, dispatch_uid=f"{act.__module__}.{act.__qualname__}")


def broken_schedules() -> list[str]:
    """Tell which Schedules django-q2 cannot run, and why, in words.

    While one of them is due, its cluster runs none, nor does the default one without a cluster.
    """
    rows = Schedule.objects.using(alias()).exclude(repeats=0).exclude(next_run=None)
    first = rows.order_by("next_run")[:SCHEDULES_READ]
    told = ((row, schedules.fault_of(row, async_task)) for row in first)
    return [f"{row.name or row.func} (id {row.pk}): {fault}" for row, fault in told if fault]


def _lock(wake: Wake) -> datetime:
    # What django-q2 compares it with is a local time without a fold where USE_TZ is off.
    return moments.without_fold(wake.at, timezone.now())


def _payload(key: str, due: datetime | None) -> str:
    if due is None:
        return _signed_for_now(key)
    return _signed(key, WORKER_ENTRY, key, moments.as_instant(due).timestamp())


@cache
def _signed_for_now(key: str) -> str:
    return _signed(key, WORKER_ENTRY, key, None)


def _signed(about: str, entry: str, *args: Any) -> str:
    # Nothing here can fail to unpickle: a constant path and plain values. ``timeout`` must be an
    # int (-1: none), and ``save=False`` keeps django-q2's monitor from storing a result.
    package = {
        "id": "00000000000000000000retrytasks00",
        "name": f"django-retrytasks {about}",
        "func": entry,
        "args": args,
        "kwargs": {},
        "started": timezone.now(),
        "save": False,
        "ack_failure": entry == SWEEP_ENTRY,
        "timeout": -1,
    }
    return str(SignedPackage.dumps(package))
