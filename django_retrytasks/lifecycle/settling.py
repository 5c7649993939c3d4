"""Settle: record the endings of attempts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import writes, writing
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import FINAL, Attempt, Status, Task
from django_retrytasks.values import moments
from django_retrytasks.values.entries import ANNOUNCE_ENTRY

from . import groups
from .endings import Ending, Settled
from .enqueueing import enqueue
from .groups import Failed
from .internal import internal_task
from .log import log_settled, log_transition
from .rows import adopt, lock_held, store_attempts
from .waking import wake_for

DECISION_LIMIT = 255
# SQLite's clock counts milliseconds, the worker's microseconds.
RESOLUTION = timedelta(milliseconds=1)


def settle(endings: Sequence[Ending]) -> list[Settled]:
    """Record the endings of one claim's attempts; return the accepted ones.

    One transaction writes the Attempts, updates the Tasks, gives retries a run_after and a wake-up,
    enqueues an announcement of final failures, and counts failures in their groups. If the claim or
    its lease is over, the ending is refused: it changes nothing and is not returned.
    """
    with writing():
        held = lock_held([ending.task for ending in endings])
        accepted = [_decide_values(e, held[e.task.id]) for e in endings if e.task.id in held]
        _write(accepted)
    for refused in [e for e in endings if e.task.pk not in held]:
        log_transition(logging.WARNING, "outcome refused: its claim is over", refused.task)
    for settled in accepted:
        adopt([settled.ending.task], settled.values)
        log_settled(settled)
    return accepted


def _decide_values(ending: Ending, at: datetime) -> Settled:
    task, decision = ending.task, ending.decision
    lost = ending.outcome == Attempt.Outcome.LOST
    final = ending.status in FINAL
    wait = timedelta(seconds=decision.countdown or 0)
    run_after = None if final else moments.after(at, wait)
    failed = _failed(ending)
    values = {
        "status": ending.status,
        "failure_group_id": task.failure_group_id,
        "stop_reason": decision.stop_reason or "",
        "attempt_count": task.attempt_count + 1,
        "retry_count": task.retry_count + (ending.status == Status.RETRYING and _spends(ending)),
        "crash_count": task.crash_count + lost,
        "run_after": run_after,
        "queued_at": run_after or task.queued_at,
        "started_at": task.started_at or ending.started_at,
        "last_attempted_at": ending.started_at,
        "finished_at": _finished_at(ending, at) if final else None,
        "claim_token": None,
        "return_value": ending.return_value,
        "suspect": task.suspect or lost,
        "wakeup_id": None,
    }
    if failed and failed.is_final:
        values["failure_group_id"] = failed.fingerprint
    row = _attempt(ending, run_after)
    return Settled(ending=ending, values=values, row=row, failed=failed)


def _finished_at(ending: Ending, at: datetime) -> datetime:
    """Return the database's time, or the attempt's end if that comes within a millisecond."""
    ahead = moments.between(at, ending.finished_at)
    return ending.finished_at if moments.ZERO < ahead < RESOLUTION else at


def _failed(ending: Ending) -> Failed | None:
    """Return the failure to count; None if there is none, or the Task is internal."""
    if ending.error is None or ending.task.internal:
        return None
    return Failed(task=ending.task, error=ending.error, is_final=ending.status == Status.FAILED)


def _spends(ending: Ending) -> bool:
    return ending.outcome != Attempt.Outcome.SNOOZED


def _attempt(ending: Ending, run_after: datetime | None) -> dict[str, Any]:
    task, error = ending.task, ending.error
    return {
        "task_id": task.id,
        "number": task.attempt_count + 1,
        "outcome": ending.outcome,
        "retry_count": task.retry_count,
        "queued_at": task.queued_at,
        "started_at": ending.started_at,
        "finished_at": ending.finished_at,
        "worker": ending.worker,
        "exception_class_path": error.class_path if error else "",
        "exception_message": error.message if error else "",
        "traceback": error.traceback if error else "",
        "decision": storable(ending.decision.reason, DECISION_LIMIT),
        "next_run_after": run_after,
    }


def _write(accepted: Sequence[Settled]) -> None:
    if not accepted:
        return
    store_attempts([settled.row for settled in accepted])
    _wake_for_retries(accepted)
    writes.update_each(Task, [(each.ending.task.id, each.values) for each in accepted])
    final = [settled for settled in accepted if settled.ending.status == Status.FAILED]
    if announced := [settled for settled in final if not settled.ending.task.internal]:
        enqueue([_announcement(announced)])
    groups.count([settled.failed for settled in accepted if settled.failed])


def _wake_for_retries(accepted: Sequence[Settled]) -> None:
    now = timezone.now()
    waiting = []
    for settled in accepted:
        run_after = settled.values["run_after"]
        if run_after is not None:
            at = moments.after(now, timedelta(seconds=settled.ending.decision.countdown or 0))
            waiting.append((settled.ending.task, wakeups.Wake(at, run_after)))
    wake_for(waiting)
    for settled in accepted:
        settled.values["wakeup_id"] = settled.ending.task.wakeup_id


def _announcement(final: Sequence[Settled]) -> Task:
    """Return the Task that announces these final failures, of one cluster's queues."""
    failures = [[str(settled.ending.task.pk), settled.row["number"]] for settled in final]
    return internal_task(ANNOUNCE_ENTRY, [failures], beside=final[0].ending.task)
