"""Wake-ups: the OrmQ rows that make a django-q2 cluster look for due Tasks.

The only file that imports django_q. A wake-up carries no Task, only the key of a cluster and the
moment it was written for, so it may be lost, late or doubled without harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from django_retrytasks.database import alias
from django_retrytasks.values import moments
from django_retrytasks.values.entries import SWEEP_ENTRY, WORKER_ENTRY

SWEEP_MINUTES = 1
# Wake-ups further ahead are left to the sweep, so that OrmQ stays small.
HORIZON = timedelta(minutes=2 * SWEEP_MINUTES)
# A wake-up for now is dated back, to be seen by clusters on hosts whose clocks are behind.
CLOCKS_APART = timedelta(hours=1)


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


def write(key: str, wakes: Sequence[Wake]) -> list[int | None]:
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


def _lock(wake: Wake) -> datetime:
    # What django-q2 compares it with is a local time without a fold where USE_TZ is off.
    return moments.without_fold(wake.at, timezone.now())


def _payload(key: str, due: datetime | None) -> str:
    if due is None:
        return _signed_for_now(key)
    return signed(key, WORKER_ENTRY, key, moments.as_instant(due).timestamp())


@cache
def _signed_for_now(key: str) -> str:
    return signed(key, WORKER_ENTRY, key, None)


def signed(about: str, entry: str, *args: Any) -> str:
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
