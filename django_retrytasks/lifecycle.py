"""The verbs: every change of a Task's state, each one transaction, each taking many Tasks.

Their states and edges are drawn in docs/explanation/lifecycle.md. Times are the database's.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache, partial
from typing import Any

from django.db import InterfaceError, OperationalError, connections, transaction
from django.db.models import F
from django.db.models.functions import Coalesce
from django.utils import timezone
from django.utils.module_loading import import_string

from . import conf, due, failures, lanes, moments, tallies, wakeups
from .due import Picked
from .exceptions import Duration, as_seconds
from .failures import Failed
from .ids import as_ids
from .internal import INTERNAL_RETENTION, internal_task
from .lanes import NOTHING_PAUSED, Due, Paused, Survey
from .models import FINAL, UNFINISHED, Attempt, DatabaseNow, Encoded, Status, Task, TaskQuerySet
from .policy import Decision, StopReason
from .reports import ErrorReport, storable
from .transactions import writing

logger = logging.getLogger("django_retrytasks")

Waiting = tuple[Task, wakeups.Wake]
"""A Task that waits and when to wake a cluster for it."""

CHUNK = 1000
INLINE_ENTRY = "django_retrytasks.worker.run_inline"
ANNOUNCE_ENTRY = "django_retrytasks.announcements.announce_failures"
DECISION_LIMIT = 255
# How many coming moments one sweep reads, and for how many it rings, in each cluster.
COMING_READ, COMING_LIMIT = 10_000, 2_400
# How long one prune goes on.
PRUNE_SECONDS = 10.0
# The lease of a Task that is run in the calling process.
INLINE_LEASE = timedelta(days=1)
STARTS = ("started_at", "last_attempted_at")
WAITING = (Status.PENDING, Status.RETRYING)

# Tasks to be run by whoever runs inline here; None: clusters run them.
_pending_inline: ContextVar[set[uuid.UUID] | None] = ContextVar("pending_inline", default=None)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How one attempt ended and what follows it: decided, not yet written."""

    task: Task
    outcome: Attempt.Outcome
    decision: Decision
    started_at: datetime
    finished_at: datetime
    worker: str
    error: ErrorReport | None = None
    exception: BaseException | None = None
    return_value: Encoded | None = None

    @property
    def status(self) -> Status:
        """Return the status the Task has once this is written."""
        match self.outcome:
            case Attempt.Outcome.SUCCEEDED:
                return Status.SUCCEEDED
            case Attempt.Outcome.DISCARDED:
                return Status.DISCARDED
            case Attempt.Outcome.SNOOZED:
                return self.task.waiting_status
        return Status.RETRYING if self.decision.retries else Status.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """An ending that was written: the Task's new values, its Attempt row, and its failure."""

    ending: Ending
    values: dict[str, Any]
    attempt: Attempt = field(compare=False)
    failed: Failed | None


# ---- enqueue


def enqueue(tasks: Sequence[Task], *, is_repeated: bool = False) -> None:
    """Store new Tasks and the wake-ups that make a cluster look for them.

    Both commit, or roll back, with the transaction that the caller is in. A Task whose
    ``run_after`` is None may run at once. With ``is_repeated`` those whose id is stored already
    are passed over.
    """
    with writing():
        for start in range(0, len(tasks), CHUNK):
            _store(tasks[start : start + CHUNK], is_repeated)
    _log_all(logging.DEBUG, "enqueued", tasks)


def _store(tasks: Sequence[Task], is_repeated: bool) -> None:
    now, at_once = timezone.now(), wakeups.now()
    _wake_for([(task, _wake(task.run_after) if task.run_after else at_once) for task in tasks])
    moments = [task.run_after for task in tasks]
    for task, run_after in zip(tasks, moments, strict=True):
        task.enqueued_at = DatabaseNow()
        task.queued_at = task.run_after = run_after or DatabaseNow()
    rows = Task.objects.using(wakeups.alias())
    rows.bulk_create(tasks, ignore_conflicts=is_repeated)
    for task, run_after in zip(tasks, moments, strict=True):
        task.enqueued_at = now
        task.queued_at = task.run_after = run_after or now


def _wake(run_after: datetime) -> wakeups.Wake:
    return wakeups.Wake(run_after, run_after)


@contextmanager
def running_inline(ids: Iterable[uuid.UUID]) -> Iterator[set[uuid.UUID]]:
    """Have the body run what comes to wait meanwhile: no wake-ups are written.

    Yields a set of ids that begins with ``ids`` and grows as Tasks are enqueued and retried.
    """
    pending = set(ids)
    token = _pending_inline.set(pending)
    try:
        yield pending
    finally:
        _pending_inline.reset(token)


def _wake_for(waiting: Sequence[Waiting]) -> None:
    """See to it that waiting Tasks are run: by wake-ups, noted on each Task, or inline.

    Tasks due at one moment share as many wake-ups as one cluster has workers; a worker that leaves
    due Tasks behind rings for more.
    """
    if not waiting:
        return
    if (pending := _pending_inline.get()) is not None:
        pending |= {task.pk for task, _ in waiting}
    elif wakeups.is_sync():
        run_inline = import_string(INLINE_ENTRY)
        ids = {task.pk for task, _ in waiting}
        transaction.on_commit(partial(run_inline, ids), using=wakeups.alias())
    else:
        _ring(waiting)


def _ring(waiting: Sequence[Waiting]) -> None:
    horizon = timezone.now() + wakeups.HORIZON
    shared: dict[tuple[str, wakeups.Wake], int] = defaultdict(int)
    rung: dict[str, list[Waiting]] = defaultdict(list)
    for task, wake in waiting:
        key = wakeups.key_for(task.queue_name)
        shared[key, wake] += 1
        if shared[key, wake] <= wakeups.workers_of(key) and wake.at <= horizon:
            rung[key].append((task, wake))
    for key, pairs in rung.items():
        ids = wakeups.ring(key, [wake for _, wake in pairs])
        for (task, _), wakeup_id in zip(pairs, ids, strict=True):
            task.wakeup_id = wakeup_id


# ---- claim


def ring_for_due(key: str) -> bool:
    """Leave wake-ups behind if Tasks of a cluster are due; return whether any was written."""
    return bool(lanes.survey().of(key).due) and ring(key)


def ring(key: str, *, least: int = 1) -> bool:
    """Leave wake-ups behind: so many that a whole cluster works on what is due.

    Args:
        key: the cluster's key.
        least: how many to write even where enough rows wait, which may be others'.

    Returns whether any was written.
    """
    missing = wakeups.workers_of(key) - wakeups.waiting_count(key)
    count = max(least, missing)
    if count:
        wakeups.ring(key, [wakeups.now()] * count)
    return bool(count)


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
    rows = _by_pk(claim.tasks).held(claim.token)
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
    _by_pk(tasks).update(**values)
    wakeups.delete(task.wakeup_id for task in tasks)
    _adopt(tasks, values)


def _take_over(tasks: Sequence[Task], held: Mapping[str, Any]) -> None:
    """Renew a lapsed claim under a new token, keeping what it says of the lost attempt."""
    if tasks:
        _by_pk(tasks).update(**held)
        for task in tasks:
            task.lapsed = True
        _adopt(tasks, held)


def _lease() -> timedelta:
    return timedelta(seconds=conf.get().lease)


# ---- settle


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
        _log_transition(logging.WARNING, "outcome refused: its claim is over", refused.task)
    for one in settled:
        _adopt([one.ending.task], one.values)
        _log_settled(one)
    return settled


def _lock_held(endings: Sequence[Ending]) -> dict[uuid.UUID, datetime]:
    """Lock the Tasks still under their claim; return the database's time for each."""
    tasks = [ending.task for ending in endings]
    rows = _by_pk(tasks).held(tasks[0].claim_token).select_for_update()
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
    Attempt.objects.using(wakeups.alias()).bulk_create([one.attempt for one in settled])
    _wake_for_retries(settled)
    _update_each([(one.ending.task, one.values) for one in settled])
    final = [one for one in settled if one.ending.status == Status.FAILED]
    if announced := [one for one in final if not one.ending.task.internal]:
        enqueue([_announcement(announced)])
    failures.count([one.failed for one in settled if one.failed])


def _wake_for_retries(settled: Sequence[Settled]) -> None:
    now = timezone.now()
    waiting = []
    for one in settled:
        if one.values["run_after"] is not None:
            at = moments.after(now, timedelta(seconds=one.ending.decision.countdown or 0))
            waiting.append((one.ending.task, wakeups.Wake(at, one.values["run_after"])))
    _wake_for(waiting)
    for one in settled:
        one.values["wakeup_id"] = one.ending.task.wakeup_id


def _announcement(failed: Sequence[Settled]) -> Task:
    """Return the Task that announces these final failures, of one cluster's queues."""
    told = [[str(one.ending.task.pk), one.attempt.number] for one in failed]
    return internal_task(ANNOUNCE_ENTRY, [told], beside=failed[0].ending.task)


# ---- heartbeat, release


def heartbeat(task: Task, *, started_at: datetime) -> bool:
    """Extend the lease of a Task that is being run and note its start.

    Returns whether its claim still held; a claim once lost is never extended.
    """
    values = {
        "run_after": DatabaseNow.after(_lease()),
        "last_attempted_at": started_at,
        "started_at": Coalesce("started_at", started_at),
    }
    return bool(_by_pk([task]).held(task.claim_token).update(**values))


def release(tasks: Sequence[Task], *, suspect: bool = False) -> None:
    """Give claimed Tasks back unstarted: due at once, no attempt charged.

    With ``suspect`` (a worker died holding them) each is from now on claimed alone.
    """
    with writing():
        for task in tasks:
            if suspect or not task.lapsed:
                _give_back(task, run_after=DatabaseNow(), suspect=task.suspect or suspect)
            else:  # its lost attempt has yet to be settled, so it stays lapsed
                _by_pk([task]).held(task.claim_token).update(run_after=DatabaseNow())
        _wake_for([(task, wakeups.now()) for task in tasks])
    _log_all(logging.INFO, "given back", tasks)


def postpone(task: Task, countdown: float) -> None:
    """Give a claimed Task back for a worker that has its code, due in ``countdown`` seconds."""
    wait, count = timedelta(seconds=countdown), task.given_back_count + 1
    with writing():
        _give_back(task, run_after=DatabaseNow.after(wait), given_back_count=count)
        moment = moments.after(timezone.now(), wait)
        _wake_for([(task, wakeups.Wake(moment, moment))])
    _log_transition(logging.WARNING, "given back: this worker has not its code", task)


def _give_back(task: Task, **changes: Any) -> None:
    values = {"status": task.waiting_status, "claim_token": None, **task.unclaimed, **changes}
    _by_pk([task]).held(task.claim_token).update(**values)


# ---- what operators do


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
        _by_pk(tasks).update(**_discarded(), claim_token=None)
    _log_all(logging.INFO, "cancelled", tasks)
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
    Attempt.objects.using(wakeups.alias()).bulk_create(cancelled)
    _by_pk(running).update(attempt_count=F("attempt_count") + 1)


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
        _by_pk(tasks).update(**values)
        if wake:
            _wake_for([(task, wake) for task in tasks])
    _log_all(logging.INFO, words, tasks)
    return len(tasks)


def _lock(pks: Sequence[uuid.UUID], statuses: Sequence[Status]) -> list[Task]:
    """Lock those of these Tasks that have one of these statuses."""
    rows = Task.objects.using(wakeups.alias()).filter(pk__in=pks, status__in=statuses)
    return list(rows.select_for_update().order_by("pk"))


# ---- sweep


def sweep() -> None:
    """Mend what a crash or a purge may have left behind, prune, and tally what ended.

    Rings for lanes with due Tasks (lapsed claims are due), unless a whole cluster's wake-ups wait,
    and for Tasks that come due before the next sweep. A wake-up too many is harmless, so two sweeps
    at once are.
    """
    found, now, keys = lanes.survey(), timezone.now(), wakeups.keys()
    for key in keys:
        served = found.of(key)
        if served.due:
            ring(key, least=0)
        if coming := _coming(served, now):
            wakeups.ring(key, coming)
    prune()
    tallies.take()


def _coming(served: Survey, now: datetime) -> list[wakeups.Wake]:
    """Return a wake for each coming moment, those close to each other taken together.

    ``now`` is the host's time at which the lanes were looked at.
    """
    if served.at is None:
        return []
    step = timedelta(seconds=wakeups.poll_seconds() / 4)
    wakes: list[wakeups.Wake] = []
    for run_after in _coming_moments(served, served.at):
        if not wakes or run_after > (wakes[-1].due or run_after):
            at = moments.after(run_after, step)
            wakes.append(wakeups.Wake(moments.after(now, moments.between(served.at, at)), at))
    return wakes[:COMING_LIMIT]


def _coming_moments(served: Survey, start: datetime) -> list[datetime]:
    """Return when Tasks for which no wake-up waits come due from a moment to the horizon."""
    end = moments.after(start, wakeups.HORIZON)
    near = [lane for lane, at in served.oldest.items() if at <= end]
    rows: Any = Task.objects.using(wakeups.alias()).of_lanes(near).exclude(status=Status.RUNNING)
    coming = rows.filter(wakeup_id=None, run_after__gt=start, run_after__lte=end)
    found = coming.order_by("run_after").values_list("run_after", flat=True).distinct()
    return list(found[:COMING_READ])


def prune() -> int:
    """Delete finished Tasks, attempts included, past their retention; return how many.

    In short transactions, for about ten seconds: the next sweep goes on.
    """
    until = time.monotonic() + PRUNE_SECONDS
    rows = Task.objects.using(wakeups.alias())
    old = [rows.finished_before(status, INTERNAL_RETENTION, internal=True) for status in FINAL]
    for status in FINAL:
        kept = conf.get().retention(status)
        if kept is not None:
            old.append(rows.finished_before(status, timedelta(seconds=kept)))
    if (kept := conf.get().retention(Status.FAILED)) is not None:
        failures.prune(timedelta(seconds=kept))
    return sum(_delete_all(tasks, until) for tasks in old)


def _delete_all(tasks: TaskQuerySet, until: float) -> int:
    deleted = count = _delete_chunk(tasks)
    while count == CHUNK and time.monotonic() < until:
        count = _delete_chunk(tasks)
        deleted += count
    return deleted


def _delete_chunk(tasks: TaskQuerySet) -> int:
    # Found first, then locked by key: MariaDB locks what it walks over as well, in the order of
    # another index than a settle's, and one of the two would be a deadlock's victim.
    found = list(tasks.values_list("pk", flat=True)[:CHUNK])
    if not found:
        return 0
    with writing():
        old = tasks.filter(pk__in=found).select_for_update().order_by("pk")
        ids = list(old.values_list("pk", flat=True))
        attempts = Attempt.objects.using(wakeups.alias()).filter(task__in=ids)
        attempts._raw_delete(attempts.db)
        doomed = Task.objects.using(wakeups.alias()).filter(pk__in=ids)
        doomed._raw_delete(doomed.db)
    return len(ids)


# ---- shared steps


def _by_pk(tasks: Sequence[Task]) -> TaskQuerySet:
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows.filter(pk__in=[task.pk for task in tasks])


def _update_each(updates: Sequence[tuple[Task, Mapping[str, Any]]]) -> None:
    """Update each Task with values of its own, all the same fields, sent together."""
    connection = connections[wakeups.alias()]
    fields: list[Any] = [Task._meta.get_field(name) for name in updates[0][1]]
    columns = ", ".join(f"{connection.ops.quote_name(f.column)} = %s" for f in fields)
    pk: Any = Task._meta.pk
    sql = f"UPDATE {Task._meta.db_table} SET {columns} WHERE {pk.column} = %s"  # noqa: S608

    @cache  # most values of a batch are the same
    def prepared(f: Any, value: Any) -> Any:
        return f.get_db_prep_save(value, connection)

    rows = [
        [
            *(prepared(f, values[f.attname]) for f in fields),
            pk.get_db_prep_save(task.pk, connection),
        ]
        for task, values in updates
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def _adopt(tasks: Sequence[Task], values: Mapping[str, Any]) -> None:
    for task in tasks:
        for name, value in values.items():
            setattr(task, name, value.value if isinstance(value, Encoded) else value)


def _log_settled(settled: Settled) -> None:
    ending, task = settled.ending, settled.ending.task
    level, words = {
        Status.SUCCEEDED: (logging.INFO, "succeeded"),
        Status.FAILED: (logging.ERROR, "failed"),
        Status.RETRYING: (logging.WARNING, "will be retried"),
    }.get(ending.status, (logging.INFO, ending.status.lower()))
    if ending.outcome == Attempt.Outcome.SNOOZED:
        level, words = logging.INFO, "snoozed"
    _log_transition(level, words, task, settled)


def _log_all(level: int, words: str, tasks: Sequence[Task]) -> None:
    for task in tasks:
        _log_transition(level, words, task)


def _log_transition(level: int, words: str, task: Task, settled: Settled | None = None) -> None:
    if not logger.isEnabledFor(level):
        return
    ending = settled.ending if settled else None
    extra = {
        "task_id": str(task.pk),
        "task_name": task.name,
        "attempt": settled.attempt.number if settled else task.attempt_count,
        "countdown": ending.decision.countdown if ending else None,
    }
    message = f"Task {words}: id=%(task_id)s name=%(task_name)s attempt=%(attempt)s"
    if ending and ending.error:
        extra |= {"exception": ending.error.class_path, "decision": ending.decision.reason}
        message += " exception=%(exception)s decision=%(decision)s"
    logger.log(level, message, extra, extra=extra)
