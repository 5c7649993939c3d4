"""Wake-ups: the OrmQ rows that make a django-q2 cluster look for due Tasks.

A wake-up holds the key of a cluster and a moment, but no Task. So a lost, late or doubled one does
no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django.utils import timezone
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from django_retrytasks.database import alias, writes
from django_retrytasks.values import moments
from django_retrytasks.values.entries import SWEEP_ENTRY, WORKER_ENTRY

from . import listening

SWEEP_MINUTES = 1
# The sweep writes wake-ups further ahead than this, so that OrmQ stays small.
HORIZON = timedelta(minutes=2 * SWEEP_MINUTES)
# A wake-up for now is dated back, so that clusters on hosts with slow clocks see it.
CLOCKS_APART = timedelta(hours=1)


class Wake(NamedTuple):
    """When to wake a cluster."""

    at: datetime
    """Host time from which it is visible to the cluster."""
    due: datetime | None = None
    """Database time before which no Task is due, if known. A worker woken earlier writes another
    wake-up."""


def now() -> Wake:
    """Return a wake for now, on every host whose clock is less than an hour slow."""
    return Wake(timezone.now() - CLOCKS_APART)


def later(seconds: float, due: datetime) -> Wake:
    """Return a wake in ``seconds``, which is ``due`` by the database's clock."""
    return Wake(moments.after(timezone.now(), timedelta(seconds=seconds)), due)


def write(key: str, wakes: Sequence[Wake]) -> list[int | None]:
    """Write wake-ups for the cluster with this key, in the caller's transaction; return their ids.

    A cluster that listens is notified at the commit.
    MySQL returns no ids for rows inserted together: these are None.
    """
    if not wakes:
        return []
    if channel := listening.channel_for(key, min(wake.at for wake in wakes)):
        return writes.insert(OrmQ, [_row(key, wake) for wake in wakes], notify=channel)
    rows = [OrmQ(**_row(key, wake)) for wake in wakes]
    if len(rows) == 1:
        rows[0].save(using=alias(), force_insert=True)
    else:
        OrmQ.objects.using(alias()).bulk_create(rows)
    return [row.pk for row in rows]


def parent(key: str, wake: Wake, *, link: str) -> writes.Parent:
    """Return a wake-up to insert together with a row, whose field ``link`` gets its id."""
    channel = listening.channel_for(key, wake.at)
    return writes.Parent(model=OrmQ, row=_row(key, wake), link=link, notify=channel)


def _row(key: str, wake: Wake) -> dict[str, Any]:
    return {"key": key, "payload": _payload(key, wake.due), "lock": _lock(wake)}


def delete(ids: Iterable[int | None]) -> None:
    """Delete wake-ups by id; ignore None."""
    present = [pk for pk in ids if pk is not None]
    if present:
        rows = OrmQ.objects.using(alias()).filter(pk__in=present)
        rows._raw_delete(rows.db)


def waiting_count(key: str) -> int:
    """Count the rows that the cluster with this key could pull now."""
    rows = OrmQ.objects.using(alias()).filter(key=key, lock__lte=timezone.now())
    return int(rows.count())


def waits_until(wakeup_id: int | None) -> datetime | None:
    """Return the host time from which a waiting wake-up is visible; None if it is gone."""
    rows = OrmQ.objects.using(alias()).filter(pk=wakeup_id)
    lock: datetime | None = rows.values_list("lock", flat=True).first()
    return lock


def _lock(wake: Wake) -> datetime:
    # With USE_TZ off, django-q2 compares it with a local time without a fold.
    return moments.without_fold(wake.at, timezone.now())


def _payload(key: str, due: datetime | None) -> str:
    if due is None:
        return _signed_for_now(key)
    return signed(key, WORKER_ENTRY, key, moments.as_instant(due).timestamp())


@cache
def _signed_for_now(key: str) -> str:
    return signed(key, WORKER_ENTRY, key, None)


def signed(about: str, entry: str, *args: Any) -> str:
    """Return django-q2's payload for a call of ``entry``."""
    # A constant path and plain values: nothing can fail to unpickle. ``timeout`` must be an int
    # (-1: none), and ``save=False`` keeps django-q2's monitor from storing a result.
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
