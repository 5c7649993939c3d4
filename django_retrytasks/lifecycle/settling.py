"""Settle: record how attempts ended."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
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
from .rows import adopt, by_pk, update_each
from .waking import wake_for

DECISION_LIMIT = 255


def settle(endings: Sequence[Ending]) -> list[Settled]:
    """Record how attempts of one claim ended; return those that were accepted.

    In one transaction: Attempt rows are written, Tasks updated, retries get a run_after and a
    wake-up, final failures an announcement Task, and failures are counted in their groups. An
    ending whose claim is gone, or whose lease has ended, is refused: it changes nothing and is not
    returned.
    """
    with writing():
        held = _lock_held(endings)
        settled = [_decide_values(e, held[e.task.pk]) for e in endings if e.task.pk in held]
        _write(settled)
    for refused in [e for e in endings if e.task.pk not in held]:
        log_transition(logging.WARNING, "outcome refused: its claim is over", refused.task)
    for one in settled:
        adopt([one.ending.task], one.values)
        log_settled(one)
    return settled


def _lock_held(endings: Sequence[Ending]) -> dict[uuid.UUID, datetime]:
    """Lock the Tasks still under their claim; return the database's time for each."""
    tasks = [ending.task for ending in endings]
    rows = by_pk(tasks).held(tasks[0].claim_token).select_for_update()
    return dict(rows.values_list("pk", DatabaseNow()))


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
        "finished_at": at if final else None,
        "claim_token": None,
        "return_value": ending.return_value,
        "suspect": task.suspect or lost,
        "wakeup_id": None,
    }
    if failed and failed.is_final:
        values["failure_group_id"] = failed.fingerprint
    attempt = _attempt(ending, run_after)
    return Settled(ending=ending, values=values, attempt=attempt, failed=failed)


def _failed(ending: Ending) -> Failed | None:
    """Return the failure to count, if it is one and not an internal Task's."""
    if ending.error is None or ending.task.internal:
        return None
    return Failed(task=ending.task, error=ending.error, is_final=ending.status == Status.FAILED)


def _spends(ending: Ending) -> bool:
    return ending.outcome != Attempt.Outcome.SNOOZED


def _attempt(ending: Ending, run_after: datetime | None) -> Attempt:
    error = ending.error
    return Attempt(
        task_id=ending.task.pk,
        number=ending.task.attempt_count + 1,
        outcome=ending.outcome,
        retry_count=ending.task.retry_count,
        queued_at=ending.task.queued_at,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
        worker=ending.worker,
        exception_class_path=error.class_path if error else "",
        exception_message=error.message if error else "",
        traceback=error.traceback if error else "",
        decision=storable(ending.decision.reason, DECISION_LIMIT),
        next_run_after=run_after,
    )


def _write(settled: Sequence[Settled]) -> None:
    if not settled:
        return
    Attempt.objects.bulk_create([one.attempt for one in settled])
    _wake_for_retries(settled)
    update_each([(one.ending.task, one.values) for one in settled])
    final = [one for one in settled if one.ending.status == Status.FAILED]
    if announced := [one for one in final if not one.ending.task.internal]:
        enqueue([_announcement(announced)])
    groups.count([one.failed for one in settled if one.failed])


def _wake_for_retries(settled: Sequence[Settled]) -> None:
    now = timezone.now()
    waiting = []
    for one in settled:
        if one.values["run_after"] is not None:
            at = moments.after(now, timedelta(seconds=one.ending.decision.countdown or 0))
            waiting.append((one.ending.task, wakeups.Wake(at, one.values["run_after"])))
    wake_for(waiting)
    for one in settled:
        one.values["wakeup_id"] = one.ending.task.wakeup_id


def _announcement(failed: Sequence[Settled]) -> Task:
    """Return the Task that announces these final failures, of one cluster's queues."""
    told = [[str(one.ending.task.pk), one.attempt.number] for one in failed]
    return internal_task(ANNOUNCE_ENTRY, [told], beside=failed[0].ending.task)
