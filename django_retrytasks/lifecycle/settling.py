"""Settle: record the endings of attempts."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import writes, writing
from django_retrytasks.database.persistence import is_joined
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import FINAL, Attempt, Status, Task
from django_retrytasks.values import moments
from django_retrytasks.values.entries import ANNOUNCE_ENTRY

from . import breakers, cancelling, groups, unique
from .endings import Ending, Meaning, Settled
from .enqueueing import enqueue
from .groups import Failed
from .internal import internal_task
from .log import log_settled, log_transition
from .rows import DECISION_LIMIT, adopt, held_at, is_held, store_attempts
from .waking import wake_for

# SQLite's clock counts milliseconds, the worker's microseconds.
RESOLUTION = timedelta(milliseconds=1)


class _ClaimOverError(Exception):
    """The claim of a Task has ended between the read of what it holds, and the write."""


@dataclass(frozen=True, slots=True)
class _Written:
    """What became of endings: accepted ones, refused ones, and the Tasks that were cancelled."""

    accepted: Sequence[Settled]
    refused: Sequence[Ending]
    cancelled: Collection[UUID]


def settle(endings: Sequence[Ending]) -> list[Settled]:
    """Record the endings of one claim's attempts; return the accepted ones.

    One transaction writes the Attempts, updates the Tasks, gives retries a run_after and a wake-up,
    enqueues an announcement of final failures, and counts failures in their groups. If the claim or
    its lease is over, the ending is refused: it changes nothing and is not returned. Only a
    cancelled run gets its end.
    """
    written = (None if is_joined() else _write_if_held(endings)) or _write_under_lock(endings)
    _log_refused(written.refused, written.cancelled)
    for settled in written.accepted:
        adopt([settled.ending.task], settled.values)
        log_settled(settled)
    return list(written.accepted)


def _write_if_held(endings: Sequence[Ending]) -> _Written | None:
    """Read what is held, decide, and then write; None: a claim has ended in between.

    While it decides, no other worker has to wait; on SQLite all the others would.
    """
    tasks = [ending.task for ending in endings]
    with suppress(_ClaimOverError):
        return _write(endings, held_at(tasks), only=is_held(tasks[0].claim_token))
    return None


def _write_under_lock(endings: Sequence[Ending]) -> _Written:
    with writing():
        return _write(endings, held_at([ending.task for ending in endings], locks=True))


def _write(
    endings: Sequence[Ending],
    held: Mapping[UUID, datetime],
    *,
    only: writes.Condition | None = None,
) -> _Written:
    """Write the endings of held Tasks.

    Args:
        held: the database's time for each held Task.
        only: what must hold for a Task until it is written; None: it is locked.

    Raises:
        _ClaimOverError: it does not hold any more for one of them; nothing is written.
    """
    accepted = [_decide_values(e, held[e.task.id]) for e in endings if e.task.id in held]
    refused = [ending for ending in endings if ending.task.id not in held]
    unique.free_keys(accepted)
    attempts = writes.inserting(Attempt, [settled.row for settled in accepted])
    waits = any(settled.values["run_after"] for settled in accepted)
    changes = [] if waits else _changes(accepted, only)
    with writing():
        if waits:
            _wake_for_retries(accepted)
            changes = _changes(accepted, only)
        if writes.execute(changes).written < len(accepted):
            raise _ClaimOverError
        store_attempts([settled.row for settled in accepted], attempts)
        _write_consequences(accepted)
        cancelled = _close_cancelled(refused) if refused else set()
    return _Written(accepted, refused, cancelled)


def _changes(accepted: Sequence[Settled], only: writes.Condition | None) -> list[writes.Statement]:
    """Return the statements that update the Tasks, in the order in which others lock them."""
    ordered = sorted(accepted, key=lambda settled: settled.ending.task.id.int)
    values = [(settled.ending.task.id, settled.values) for settled in ordered]
    return writes.updating(Task, values, only=only)


def _close_cancelled(refused: Sequence[Ending]) -> set[UUID]:
    return cancelling.close([_attempt(ending, None) for ending in refused])


def _log_refused(refused: Sequence[Ending], cancelled: Collection[UUID]) -> None:
    for ending in refused:
        if ending.task.id in cancelled:
            log_transition(logging.INFO, "was cancelled and has ended", ending.task)
        else:
            log_transition(logging.WARNING, "outcome refused: its claim is over", ending.task)


def _decide_values(ending: Ending, at: datetime) -> Settled:
    task, decision, status = ending.task, ending.decision, ending.status
    lost = ending.outcome == Attempt.Outcome.LOST
    final = status in FINAL
    wait = timedelta(seconds=decision.countdown or 0)
    run_after = None if final else moments.after(at, wait)
    failed = _failed(ending)
    values = {
        "status": status,
        "failure_group_id": task.failure_group_id,
        "stop_reason": decision.stop_reason or "",
        "attempt_count": task.attempt_count + 1,
        "retry_count": task.retry_count + (status == Status.RETRYING and not ending.is_uncharged),
        "crash_count": task.crash_count + lost,
        "run_after": run_after,
        "queued_at": run_after or task.queued_at,
        "started_at": _started_at(ending, wait),
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


def _started_at(ending: Ending, wait: timedelta) -> datetime | None:
    """Return when its first attempt started, later by the time that a probe waits for the next."""
    started_at = ending.task.started_at or ending.started_at
    is_probe = ending.sign is not None and ending.sign.meaning is Meaning.FAILS
    return moments.later(started_at, wait) if is_probe and ending.is_uncharged else started_at


def _finished_at(ending: Ending, at: datetime) -> datetime:
    """Return the database's time, or the attempt's end if that comes within a millisecond."""
    ahead = moments.between(at, ending.finished_at)
    return ending.finished_at if moments.ZERO < ahead < RESOLUTION else at


def _failed(ending: Ending) -> Failed | None:
    """Return the failure to count; None if there is none, or the Task is internal."""
    if ending.error is None or ending.task.internal:
        return None
    return Failed(task=ending.task, error=ending.error, is_final=ending.status == Status.FAILED)


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


def _write_consequences(accepted: Sequence[Settled]) -> None:
    final = [settled for settled in accepted if settled.ending.status == Status.FAILED]
    if announced := [settled for settled in final if not settled.ending.task.internal]:
        enqueue([_announcement(announced)])
    if signs := [(each.ending.task, each.ending.sign) for each in accepted if each.ending.sign]:
        breakers.heed(signs)
    groups.count([settled.failed for settled in accepted if settled.failed])


def _wake_for_retries(accepted: Sequence[Settled]) -> None:
    now = timezone.now()
    waiting = []
    for settled in accepted:
        settled.ending.task.wakeup_id = None  # that of a try which was rolled back
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
