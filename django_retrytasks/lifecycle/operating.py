"""What operators do to Tasks: re-drive, run now, snooze, discard, cancel."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import UNFINISHED, Attempt, Encoded, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import moments
from django_retrytasks.values.checked import Duration, as_seconds
from django_retrytasks.values.ids import as_ids

from .log import log_all
from .rows import by_pk
from .waking import wake_for

WAITING = (Status.PENDING, Status.RETRYING)


def redrive(ids: Iterable[uuid.UUID], *, arguments: tuple[str, str] | None = None) -> int:
    """Run failed Tasks again, ids and attempts kept, the retries anew; return how many.

    ``arguments``, as `codec.dumps_arguments` returns them, take the place of their own.
    """
    values: dict[str, Any] = {
        "status": Status.PENDING,
        "stop_reason": "",
        "retry_count": 0,
        "crash_count": 0,
        "given_back_count": 0,
        "started_at": None,
        "finished_at": None,
    }
    if arguments:
        values |= zip(("args", "kwargs"), map(Encoded, arguments), strict=True)
    return _change(ids, (Status.FAILED,), "re-driven", wakeups.now(), **values, **_due_at())


def run_now(ids: Iterable[uuid.UUID]) -> int:
    """Have waiting Tasks run at once, not when their countdown is over; return how many."""
    return _change(ids, WAITING, "made due", wakeups.now(), **_due_at())


def snooze(ids: Iterable[uuid.UUID], countdown: Duration) -> int:
    """Have waiting Tasks wait for ``countdown`` seconds from now, uncharged; return how many.

    Raises:
        TypeError, ValueError: ``countdown`` is no duration from 0 to 366 days.
    """
    wait = timedelta(seconds=as_seconds("countdown", countdown))
    moment = moments.after(timezone.now(), wait)
    return _change(ids, WAITING, "snoozed", wakeups.Wake(moment, moment), **_due_at(wait))


def discard(ids: Iterable[uuid.UUID]) -> int:
    """Drop Tasks that wait or have failed, not those that run; return how many."""
    return _change(ids, (*WAITING, Status.FAILED), "discarded", **_discarded())


def cancel(ids: Iterable[uuid.UUID]) -> int:
    """Drop Tasks that wait or run; return how many.

    The function of one that runs is not interrupted: it goes on to its end, and what comes of it
    is refused. An Attempt is written for a run that is known to have begun.
    """
    pks = as_ids(ids)
    with writing():
        tasks = _lock(pks, UNFINISHED)
        _record_cancelled([task for task in tasks if task.was_started])
        by_pk(tasks).update(**_discarded(), claim_token=None)
    log_all(logging.INFO, "cancelled", tasks)
    return len(tasks)


def _record_cancelled(running: Sequence[Task]) -> None:
    """Write the Attempts of runs whose end is not waited for."""
    cancelled = [
        Attempt(
            task_id=task.pk,
            number=task.attempt_count + 1,
            outcome=Attempt.Outcome.CANCELLED,
            retry_count=task.retry_count,
            queued_at=task.queued_at,
            started_at=task.last_attempted_at or DatabaseNow(),
            finished_at=DatabaseNow(),
            worker=task.worker,
            decision="cancelled",
        )
        for task in running
    ]
    Attempt.objects.bulk_create(cancelled)
    by_pk(running).update(attempt_count=F("attempt_count") + 1)


def _due_at(wait: timedelta = moments.ZERO) -> dict[str, Any]:
    moment = DatabaseNow.after(wait)
    return {"run_after": moment, "queued_at": moment}


def _discarded() -> dict[str, Any]:
    return {
        "status": Status.DISCARDED,
        "stop_reason": StopReason.DISCARDED,
        "run_after": None,
        "finished_at": DatabaseNow(),
        "wakeup_id": None,
    }


def _change(
    ids: Iterable[uuid.UUID],
    statuses: Sequence[Status],
    words: str,
    wake: wakeups.Wake | None = None,
    **values: Any,
) -> int:
    """Change Tasks that have one of these statuses, and ring for them; return how many."""
    pks = as_ids(ids)
    with writing():
        tasks = _lock(pks, statuses)
        by_pk(tasks).update(**values)
        if wake:
            wake_for([(task, wake) for task in tasks])
    log_all(logging.INFO, words, tasks)
    return len(tasks)


def _lock(pks: Sequence[uuid.UUID], statuses: Sequence[Status]) -> list[Task]:
    """Lock those of these Tasks that have one of these statuses."""
    rows = Task.objects.filter(pk__in=pks, status__in=statuses)
    return list(rows.select_for_update().order_by("pk"))
