"""Claim due Tasks, extend a claim, or give Tasks back."""

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
from django_retrytasks.database import DatabaseNow, writes, writing
from django_retrytasks.models import Status, Task
from django_retrytasks.values import moments

from . import cancelling, due
from .due import Picked
from .lanes import NOTHING_PAUSED, Due, Paused
from .log import log_all, log_transition
from .operating import WAITING
from .rows import adopt, by_pk, lockable
from .waking import wake_for

# One claim takes at most so many Tasks.
LARGEST_CLAIM = 200
# The lease of a Task that runs inline, in the calling process.
INLINE_LEASE = timedelta(days=1)
# One claim looks so often for Tasks behind thousands of paused and expired ones; then it ends.
ROUNDS = 20
STARTS = ("started_at", "last_attempted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Tasks held by one worker, and the token that proves it."""

    tasks: Sequence[Task] = ()
    token: uuid.UUID | None = None
    at: datetime | None = None
    ends_at: float = math.inf
    """Earliest end of its lease, in seconds of this process's monotonic clock."""
    left: Due = field(default_factory=dict)
    """Lanes that may hold more due Tasks, the best first."""


class ClaimInDoubt(OperationalError):
    """The connection was lost during the COMMIT of a claim, which may hold or not."""

    def __init__(self, claim: Claim) -> None:
        super().__init__("the connection was lost while a claim was committed")
        self.claim = claim


def claim(
    among: Due,
    *,
    limit: int,
    worker: str,
    paused: Paused = NOTHING_PAUSED,
    lease: timedelta | None = None,
) -> Claim:
    """Claim due Tasks of lanes: the highest priority first, then the oldest run_after.

    The lane with the oldest due Task may fill the whole claim. A suspect Task is claimed alone. A
    lapsed claim is due too: its Task is returned with status RUNNING, and the new holder settles it
    as lost. Expired Tasks are discarded; a claim that finds tens of thousands of them may return no
    Task, but lanes that are left.

    Args:
        among: lanes with due Tasks, as `lanes.survey` returns them.
        limit: at most so many Tasks.
        worker: the name of the claiming worker.
        paused: what is paused, and the open breakers: their Tasks are parked instead.
        lease: until the claim ends; None: ``LEASE``.

    Raises:
        ClaimInDoubt: the connection was lost during the COMMIT.
    """
    return _claim(lambda: due.pick(among, limit, paused), worker, lease or _lease())


def claim_inline(ids: Iterable[uuid.UUID], *, worker: str) -> Claim:
    """Claim one of these waiting Tasks, due or not, to run it in the calling process.

    Its lease is long, since no heartbeat extends it.
    """
    rows = lockable().filter(pk__in=list(ids), status__in=WAITING)
    return _claim(lambda: due.pick_one(rows), worker, INLINE_LEASE)


def _claim(pick: Callable[[], Picked], worker: str, lease: timedelta) -> Claim:
    """Claim the picked Tasks; while none may run and more may be due, pick again."""
    for _ in range(ROUNDS):
        claim = _claim_once(pick, worker, lease)
        if claim.tasks or not claim.left:
            break
    return claim


def _claim_once(pick: Callable[[], Picked], worker: str, lease: timedelta) -> Claim:
    claim = Claim()
    try:
        with writing():
            ends_at = time.monotonic() + lease.total_seconds()
            picked = pick()
            claim = Claim(left=picked.left)
            if picked.tasks:
                claim = replace(_take(picked, worker, lease), ends_at=ends_at)
    except (OperationalError, InterfaceError) as error:
        if claim.tasks:
            raise ClaimInDoubt(claim) from error
        raise
    log_all(logging.INFO, "expired", picked.expired)
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
    """Return a claim in doubt with the time of now; an empty claim if it does not hold."""
    rows = by_pk(claim.tasks).held(claim.token)
    times = dict(rows.values_list("pk", DatabaseNow()))
    if len(times) < len(claim.tasks):
        return Claim()
    return replace(claim, at=min(times.values()))


def _hold(tasks: Sequence[Task], held: Mapping[str, Any], at: datetime, worker: str) -> None:
    if not tasks:
        return
    values: dict[str, Any] = {
        **held,
        "status": Status.RUNNING,
        "claimed_at": at,
        "last_attempted_at": None,
        "worker": worker,
        "progress": None,
        "wakeup_id": None,
    }
    for task in tasks:
        task.unclaimed = {name: getattr(task, name) for name in STARTS}
    if len(tasks) == 1:
        # Claimed alone, it starts now. In a batch, the heartbeat writes the start.
        values |= {"last_attempted_at": at, "started_at": tasks[0].started_at or at}
    writes.update_each(Task, [(task.pk, values) for task in tasks])
    wakeups.delete(task.wakeup_id for task in tasks)
    adopt(tasks, values)


def _take_over(tasks: Sequence[Task], held: Mapping[str, Any]) -> None:
    """Renew lapsed claims under a new token; the rows still describe the lost attempts."""
    if tasks:
        by_pk(tasks).update(**held)
        for task in tasks:
            task.lapsed = True
        adopt(tasks, held)


def _lease() -> timedelta:
    return timedelta(seconds=conf.get().lease)


def heartbeat(task: Task, *, started_at: datetime) -> bool:
    """Extend the lease of a running Task and record its start; return whether its claim held.

    A claim that was lost is never extended. If the Task was cancelled, that is noted on it.
    """
    values = {
        "run_after": DatabaseNow.after(_lease()),
        "last_attempted_at": started_at,
        "started_at": Coalesce("started_at", started_at),
    }
    holds = bool(by_pk([task]).held(task.claim_token).update(**values))
    if not holds:
        cancelling.learn(task)
    return holds


def write_progress(task: Task, progress: Mapping[str, Any]) -> None:
    """Store how far a running Task is, unless its claim is over."""
    by_pk([task]).held(task.claim_token).update(progress=progress)


def release(tasks: Sequence[Task], *, suspect: bool = False) -> None:
    """Give claimed Tasks back unstarted: due at once, no attempt charged.

    With ``suspect`` (a worker died holding them), each is claimed alone from now on.
    """
    with writing():
        for task in tasks:
            if suspect or not task.lapsed:
                _give_back(task, run_after=DatabaseNow(), suspect=task.suspect or suspect)
            else:  # it stays lapsed, until its lost attempt is settled
                by_pk([task]).held(task.claim_token).update(run_after=DatabaseNow())
        wake_for([(task, wakeups.now()) for task in tasks])
    log_all(logging.INFO, "given back", tasks)


def postpone(task: Task, countdown: float) -> None:
    """Give a claimed Task back, for another worker that has its code, due in ``countdown`` s."""
    wait, count = timedelta(seconds=countdown), task.given_back_count + 1
    with writing():
        _give_back(task, run_after=DatabaseNow.after(wait), given_back_count=count)
        moment = moments.after(timezone.now(), wait)
        wake_for([(task, wakeups.Wake(moment, moment))])
    log_transition(logging.WARNING, "given back: this worker lacks its code", task)


def _give_back(task: Task, **changes: Any) -> None:
    values = {"status": task.waiting_status, "claim_token": None, **task.unclaimed, **changes}
    by_pk([task]).held(task.claim_token).update(**values)
