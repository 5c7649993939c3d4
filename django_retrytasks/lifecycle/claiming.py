"""Claim due Tasks; extend a claim, or give it back."""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from django.db import InterfaceError, OperationalError
from django.db.models.functions import Coalesce
from django.utils import timezone

from django_retrytasks import conf
from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import Status, Task
from django_retrytasks.values import moments

from . import due
from .due import Picked
from .lanes import NOTHING_PAUSED, Due, Paused
from .log import log_all, log_transition
from .operating import WAITING
from .rows import adopt, by_pk
from .waking import wake_for

# The lease of a Task that is run in the calling process.
INLINE_LEASE = timedelta(days=1)
STARTS = ("started_at", "last_attempted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Tasks taken to run by one worker, and the token that proves it."""

    tasks: Sequence[Task] = ()
    token: uuid.UUID | None = None
    at: datetime | None = None
    ends_at: float = math.inf
    """When its lease ends at the earliest, in seconds of this process's monotonic clock."""
    left: Due = field(default_factory=dict)
    """The lanes that may hold more due Tasks, the best first."""


class ClaimInDoubt(OperationalError):
    """The connection was lost while a claim was committed: it may hold or not."""

    def __init__(self, claim: Claim) -> None:
        super().__init__("the connection was lost while a claim was committed")
        self.claim = claim


def claim(among: Due, *, limit: int, worker: str, paused: Paused = NOTHING_PAUSED) -> Claim:
    """Take due Tasks of these lanes: the highest priority first, then the oldest run_after.

    A lane whose oldest has been due for longest may fill the claim before the next one's turn.

    Args:
        among: lanes with due Tasks, as `lanes.survey` tells them.
        limit: how many Tasks at most.
        worker: who takes them.
        paused: what is parked, not taken, where it is found.

    Lapsed claims are due as well: such a Task comes back with status RUNNING, to be settled as
    lost by its new holder. A suspect Task is taken alone.
    """
    return _claim(lambda: due.pick(among, limit, paused), worker, _lease())


def claim_inline(ids: Iterable[uuid.UUID], *, worker: str) -> Claim:
    """Take one of these Tasks whatever its run_after, to run it in the calling process.

    No heartbeat extends its lease, so that is a long one.
    """
    rows = due.lockable().filter(pk__in=list(ids), status__in=WAITING)
    first = rows.order_by("-priority", "run_after")[:1]
    return _claim(lambda: Picked(tasks=list(first)), worker, INLINE_LEASE)


def _claim(pick: Callable[[], Picked], worker: str, lease: timedelta) -> Claim:
    claim = Claim()
    try:
        with writing():
            ends_at = time.monotonic() + lease.total_seconds()
            if (picked := pick()).tasks:
                claim = replace(_take(picked, worker, lease), ends_at=ends_at)
    except (OperationalError, InterfaceError) as error:
        if claim.tasks:
            raise ClaimInDoubt(claim) from error
        raise
    return claim


def _take(picked: Picked, worker: str, lease: timedelta) -> Claim:
    tasks, token = picked.tasks, uuid.uuid4()
    at = due.database_now(tasks[0])
    held = {"claim_token": token, "run_after": moments.after(at, lease)}
    lapsed = [task for task in tasks if task.status == Status.RUNNING]
    _hold([task for task in tasks if task not in lapsed], held, at, worker)
    _take_over(lapsed, held)
    return Claim(tasks=tasks, token=token, at=at, left=picked.left)


def still_held(claim: Claim) -> Claim:
    """Return a claim that was in doubt, as of now; an empty one if it does not hold."""
    rows = by_pk(claim.tasks).held(claim.token)
    found = dict(rows.values_list("pk", DatabaseNow()))
    if len(found) < len(claim.tasks):
        return Claim()
    return replace(claim, at=min(found.values()))


def _hold(tasks: Sequence[Task], held: Mapping[str, Any], at: datetime, worker: str) -> None:
    if not tasks:
        return
    values: dict[str, Any] = {
        **held,
        "status": Status.RUNNING,
        "claimed_at": at,
        "last_attempted_at": None,
        "worker": worker,
        "wakeup_id": None,
    }
    for task in tasks:
        task.unclaimed = {name: getattr(task, name) for name in STARTS}
    if len(tasks) == 1:
        # Claimed alone: it starts now. In a batch the heartbeat writes who is known to run.
        values |= {"last_attempted_at": at, "started_at": tasks[0].started_at or at}
    by_pk(tasks).update(**values)
    wakeups.delete(task.wakeup_id for task in tasks)
    adopt(tasks, values)


def _take_over(tasks: Sequence[Task], held: Mapping[str, Any]) -> None:
    """Renew a lapsed claim under a new token, keeping what it says of the lost attempt."""
    if tasks:
        by_pk(tasks).update(**held)
        for task in tasks:
            task.lapsed = True
        adopt(tasks, held)


def _lease() -> timedelta:
    return timedelta(seconds=conf.get().lease)


def heartbeat(task: Task, *, started_at: datetime) -> bool:
    """Extend the lease of a Task that is being run and note its start.

    Returns whether its claim still held; a claim once lost is never extended.
    """
    values = {
        "run_after": DatabaseNow.after(_lease()),
        "last_attempted_at": started_at,
        "started_at": Coalesce("started_at", started_at),
    }
    return bool(by_pk([task]).held(task.claim_token).update(**values))


def release(tasks: Sequence[Task], *, suspect: bool = False) -> None:
    """Give claimed Tasks back unstarted: due at once, no attempt charged.

    With ``suspect`` (a worker died holding them) each is from now on claimed alone.
    """
    with writing():
        for task in tasks:
            if suspect or not task.lapsed:
                _give_back(task, run_after=DatabaseNow(), suspect=task.suspect or suspect)
            else:  # its lost attempt has yet to be settled, so it stays lapsed
                by_pk([task]).held(task.claim_token).update(run_after=DatabaseNow())
        wake_for([(task, wakeups.now()) for task in tasks])
    log_all(logging.INFO, "given back", tasks)


def postpone(task: Task, countdown: float) -> None:
    """Give a claimed Task back for a worker that has its code, due in ``countdown`` seconds."""
    wait, count = timedelta(seconds=countdown), task.given_back_count + 1
    with writing():
        _give_back(task, run_after=DatabaseNow.after(wait), given_back_count=count)
        moment = moments.after(timezone.now(), wait)
        wake_for([(task, wakeups.Wake(moment, moment))])
    log_transition(logging.WARNING, "given back: this worker has not its code", task)


def _give_back(task: Task, **changes: Any) -> None:
    values = {"status": task.waiting_status, "claim_token": None, **task.unclaimed, **changes}
    by_pk([task]).held(task.claim_token).update(**values)
