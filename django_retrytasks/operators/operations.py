"""Operations: an operator's verb for many Tasks, in chunks, by an internal Task.

One transaction writes a chunk and the progress, so a crash neither repeats nor skips a Task.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

from django_retrytasks import database, lifecycle
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.exceptions import Snooze
from django_retrytasks.lifecycle.internal import POLICY, internal_task
from django_retrytasks.models import Operation, Status, Task, TaskQuerySet
from django_retrytasks.tasks import retry_task
from django_retrytasks.tasks.context import RetryTaskContext
from django_retrytasks.values.checked import as_count, as_seconds
from django_retrytasks.values.ids import as_id

from . import selections, verbs
from .selections import Selection

# Tasks of a selection are counted up to this number.
MATCH_LIMIT = 100_000
# Tasks per transaction.
CHUNK = 500
# Seconds per attempt of the internal Task.
RUN_TIME = 20.0
# Seconds between two checks of a canary.
PAUSE = 2.0
# Seconds between two chunks at a rate.
RATE_PAUSE = 10.0
PROGRESS = ("cursor", "canary_ids", "done_count", "skipped_count")


def matching(verb: str, selection: Selection) -> TaskQuerySet:
    """Return the Tasks of a selection that a verb would change.

    Raises:
        ValueError: the verb is unknown or the selection invalid; the message names the error.
    """
    statuses = verbs.find(verb).act.changes
    return selections.select(Task.objects.all(), selection).filter(status__in=statuses)


def count(verb: str, selection: Selection) -> int:
    """Return how many Tasks a verb would change, counted up to 100,000."""
    return matching(verb, selection)[:MATCH_LIMIT].count()


def start(
    verb: str,
    selection: Selection,
    *,
    countdown: float | None = None,
    per_minute: int | None = None,
    canary: int = 0,
    by: str = "",
    reason: str = "",
) -> Operation:
    """Start an operation: a verb for all Tasks of a selection enqueued until now.

    Args:
        verb: the name of a verb, such as "REDRIVE".
        selection: which Tasks.
        countdown: seconds to snooze; None with other verbs.
        per_minute: the most Tasks a minute, from 1; None: no limit.
        canary: Tasks to run first; the others follow only if all of these succeed; 0: none.
        by: who starts it.
        reason: why, in words.

    Raises:
        ValueError: an invalid verb, selection or number.
        TypeError: a number of a wrong type; ``countdown`` missing, or given to another verb.
    """
    _refuse_options(verb, countdown, per_minute, canary)
    selection = selections.as_of_now(selection)
    operation = Operation(
        verb=verb,
        countdown=countdown,
        selection=selection,
        per_minute=per_minute,
        canary=canary,
        matched_count=count(verb, selection),
        started_by=by,
        reason=reason,
        started_at=DatabaseNow(),
    )
    _store(operation)
    return operation


def _store(operation: Operation) -> None:
    """Store an operation and its internal Task, for the Tasks that exist now."""
    newest = Task.objects.order_by("-pk").values_list("pk", flat=True)
    with writing():
        operation.newest = newest.first() or uuid.UUID(int=0)
        operation.save(using=database.alias(), force_insert=True)
        lifecycle.enqueue([internal_task(run_operation.module_path, [str(operation.pk)])])
    operation.refresh_from_db(using=database.alias())


def stop(operation_id: uuid.UUID, because: str) -> bool:
    """Stop an operation; finished changes stay. Return whether it was running."""
    pk = as_id(operation_id)
    with writing():
        operation = _running(pk)
        if operation:
            _finish(operation, Operation.Status.STOPPED, because)
    return operation is not None


@retry_task(bind=True, **POLICY)
def run_operation(self: RetryTaskContext, operation_id: str) -> None:
    """Continue an operation until it is over or has to wait."""
    until = time.monotonic() + RUN_TIME
    while time.monotonic() < until:
        with writing():
            wait = _step(uuid.UUID(operation_id))
        if wait is None:
            return
        if wait:
            raise Snooze(wait)
    raise Snooze(0)


def _step(pk: uuid.UUID) -> float | None:
    """Do a chunk; return the seconds to wait before the next chunk; None: it is over."""
    operation = _running(pk)
    if operation is None:
        return None
    canary = Task.objects.filter(pk__in=operation.canary_ids)
    if canary.unfinished().exists():
        return PAUSE
    try:
        _refuse_failed(canary)
        ids = _next_ids(operation)
    except ValueError as error:  # a failed canary; a verb or selection of another version
        _finish(operation, Operation.Status.STOPPED, str(error))
        return None
    if not ids:
        _finish(operation, Operation.Status.DONE)
        return None
    return _do(operation, ids)


def _refuse_failed(canary: TaskQuerySet) -> None:
    if failed := canary.exclude(status=Status.SUCCEEDED).count():
        raise ValueError(f"canary: {failed} of {canary.count()} did not succeed")


def _next_ids(operation: Operation) -> list[uuid.UUID]:
    rows = matching(operation.verb, operation.selection).filter(pk__lte=operation.newest)
    if operation.cursor:
        rows = rows.filter(pk__gt=operation.cursor)
    return list(rows.order_by("pk").values_list("pk", flat=True)[: _size(operation)])


def _size(operation: Operation) -> int:
    if operation.canary and not operation.done_count:
        return operation.canary
    if operation.per_minute:
        return min(CHUNK, max(1, int(operation.per_minute * RATE_PAUSE / 60)))
    return CHUNK


def _do(operation: Operation, ids: Sequence[uuid.UUID]) -> float:
    """Do the verb and store the progress; return the seconds to wait."""
    verb = verbs.find(operation.verb)
    options = {} if operation.countdown is None else {"countdown": operation.countdown}
    signature = verb.signature(operation.started_by, operation.reason)
    done = verb.act.change(ids, **options, **signature)
    is_canary = operation.canary > 0 and not operation.done_count
    operation.cursor = ids[-1]
    operation.canary_ids = [str(task.pk) for task in done] if is_canary else []
    operation.done_count += len(done)
    operation.skipped_count += len(ids) - len(done)
    operation.save(using=database.alias(), update_fields=PROGRESS)
    return 60 * len(ids) / operation.per_minute if operation.per_minute else 0.0


def _running(pk: uuid.UUID) -> Operation | None:
    rows = Operation.objects.select_for_update()
    return rows.filter(pk=pk, status=Operation.Status.RUNNING).first()


def _finish(operation: Operation, status: str, because: str = "") -> None:
    values = {"status": status, "stopped_because": because[:255], "finished_at": DatabaseNow()}
    Operation.objects.filter(pk=operation.pk).update(**values)


def _refuse_options(
    verb: str, countdown: float | None, per_minute: int | None, canary: int
) -> None:
    asks = verbs.find(verb).asks
    if countdown is None and "countdown" in asks:
        raise TypeError(f"{verb} needs a countdown")
    for option, is_set in (("countdown", countdown is not None), ("canary", canary)):
        if is_set and option not in asks:
            raise TypeError(f"{verb} takes no {option}")
    if countdown is not None:
        as_seconds("countdown", countdown)
    if per_minute is not None:
        as_count("per_minute", per_minute, least=1)
    as_count("canary", canary, most=CHUNK)
