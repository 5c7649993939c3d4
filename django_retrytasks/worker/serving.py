"""Serve a wake-up: claim, call, decide, settle, for about one slice."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from contextlib import nullcontext
from datetime import UTC, datetime

from django.db import connections

from django_retrytasks import conf, database, lifecycle
from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.database.persistence import persist
from django_retrytasks.lifecycle import Claim, ClaimInDoubt
from django_retrytasks.lifecycle.lanes import Survey
from django_retrytasks.values import moments

from . import keeper, sessions
from .batch import Batch
from .heart import Heart
from .lookout import Lookout
from .pace import pace
from .stopping import hearing

# A worker without due Tasks waits for one that becomes due within so many seconds.
EARLY = 0.2
# Seconds for which to look for work while the database is away. If the wake-up fails, the next one
# comes only after django-q2's ``retry``, or from the sweep.
CLAIM_PATIENCE = 15.0


def run(key: str, due: float | None = None) -> None:
    """Serve a wake-up: run due Tasks of the cluster ``key`` for about one slice.

    Args:
        key: the cluster's key.
        due: Unix time, by the database's clock, that the wake-up was written for; None: now.
    """
    sessions.watch()
    keeper.note_serving()
    until = time.monotonic() + conf.get().slice
    half = until - conf.get().slice / 2
    lookout = Lookout(key)
    worked = _run_batch(lookout) or (
        _wait_for_coming(key, lookout.seen, due) and _run_batch(lookout)
    )
    woken = False
    while worked and time.monotonic() < until:
        worked = _run_batch(lookout)
        if worked and not woken and time.monotonic() > half:
            # Now, so that the cluster has pulled the next wake-up when this slice ends.
            woken = _wake_for_due(key, lookout)
    if worked:
        _wake_for_due(key, lookout, least=0 if woken else 1)


def run_inline(ids: Iterable[uuid.UUID]) -> None:
    """Run Tasks, and the Tasks they enqueue, to a final status in the calling process.

    Delays are skipped: a retry runs at once.
    """
    with lifecycle.running_inline(ids) as pending:
        while (claim := lifecycle.claim_inline(pending, worker=clusters.worker_name())).tasks:
            pending -= {task.pk for task in claim.tasks}
            Batch(claim, is_inline=True, heeds_breakers=False).run()


def _run_batch(lookout: Lookout) -> bool:
    """Claim due Tasks and run them; return whether there were any, or may be more."""
    claim = _claim(lookout)
    if not claim.tasks:
        return bool(claim.left)
    pace.note_claim(leaves_due=bool(claim.left) and len(claim.tasks) == pace.limit)
    batch = Batch(claim)
    # The heart has its own connection, which does not see rows of a caller's transaction.
    is_hidden = connections[database.alias()].in_atomic_block
    with nullcontext() if is_hidden else _heart.watching(batch), hearing():
        batch.run()
    return True


def _wake_for_due(key: str, lookout: Lookout, *, least: int = 1) -> bool:
    return persist(lambda: lookout.sees_due() and lifecycle.wake_cluster(key, least=least), _soon())


def _claim(lookout: Lookout) -> Claim:
    """Claim due Tasks; after a claim in doubt, first check whether it holds."""
    limit, worker, doubtful = pace.limit, clusters.worker_name(), Claim()

    def act() -> Claim:
        nonlocal doubtful
        if doubtful.tasks and (claim := lifecycle.still_held(doubtful)).tasks:
            return claim
        try:
            return lookout.claim(limit, worker)
        except ClaimInDoubt as error:
            doubtful = error.claim
            raise

    return persist(act, _soon())


def _wait_for_coming(key: str, seen: Survey, due: float | None) -> bool:
    """Wait for a Task that becomes due in a moment; return whether there was one.

    If this wake-up came far too early, since the host's clock is fast, write another one.
    """
    if seen.at is None or seen.wait is None:
        return False
    if seen.wait <= EARLY:
        time.sleep(max(seen.wait, 0))
        return True
    if due is not None and (ahead := due - moments.as_instant(seen.at).timestamp()) > 0:
        wake = wakeups.later(ahead, datetime.fromtimestamp(due, UTC))
        persist(lambda: wakeups.write(key, [wake]), _soon())
    return False


_heart = Heart()


def _soon() -> float:
    """Return when to give up looking for work, by the monotonic clock."""
    return time.monotonic() + CLAIM_PATIENCE
