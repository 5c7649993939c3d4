"""Breakers: open and close them, let a probe through, then the Tasks behind them.

While a breaker is open, claims park the due Tasks of its key, as those of a paused function. From
time to time one of them is let through, alone: the probe. Its success closes the breaker. Then each
success lets two more through, so that they come back in a growing stream.

Note [The order of locks]
A transaction locks the Tasks that it claims or settles first, then breakers in the order of their
ids, then parked Tasks. A claim parks Tasks under the lock of their breaker, so whoever lets Tasks
through under that lock finds all of them.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.db.models import F

from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, writes, writing
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import (
    BreakerKey,
    OpenBreaker,
    Status,
    Task,
    TaskQuerySet,
    fingerprint_of,
)
from django_retrytasks.values import moments
from django_retrytasks.values.entries import BREAKER_ENTRY
from django_retrytasks.values.moments import parked_moment

from .endings import Meaning, Sign
from .enqueueing import enqueue
from .internal import internal_task
from .lanes import NOTHING_PAUSED, survey
from .rows import CHUNK, lockable
from .waking import wake_cluster, wake_for, wakes_clusters

State = OpenBreaker.State
# Each success behind a closing breaker lets so many Tasks through.
GROWTH = 2
REASON_LIMIT = 1000


Signs = Sequence[tuple[Task, Sign]]


def open_breaker(
    name: str, key: str = "", *, probe_every: float, by: str = "", reason: str = ""
) -> bool:
    """Open a breaker by an operator's hand; return whether it was not open.

    Running Tasks are not interrupted. Workers notice it within about a second.

    Args:
        name: the function's dotted path.
        key: the value of the parameter that the breaker's ``by`` names; "" without one.
        probe_every: seconds until the first probe, and between two probes.
        by: who opens it.
        reason: why, in words.
    """
    sign = Sign(meaning=Meaning.OPENS, wait=probe_every, probe_every=probe_every, reason=reason)
    with writing():
        return _open((name, key), sign, by)


def close_breaker(name: str, key: str = "", *, by: str = "", reason: str = "") -> bool:
    """Close an open breaker by an operator's hand; return whether it was open.

    The Tasks behind it come back as after the success of a probe.
    """
    with writing():
        rows = [row for row in locked([(name, key)]).values() if row.is_open]
        for row in rows:
            _close(row, by, reason)
            _let_through_or_end(row, GROWTH)
    return bool(rows)


def forget(name: str, key: str) -> None:
    """Delete a breaker, and tell nobody; the Tasks behind it go on as if it had never opened."""
    with writing():
        for row in locked([(name, key)]).values():
            while _let_through(row, CHUNK):
                pass
            OpenBreaker.objects.filter(pk=row.pk).delete()


def locked(keys: Iterable[BreakerKey] | None = None) -> dict[BreakerKey, OpenBreaker]:
    """Lock breakers that are not closed, in the caller's transaction; None: all of them.

    Each has the database's time.
    """
    rows = OpenBreaker.objects.annotate(**{DATABASE_NOW: DatabaseNow()})
    if keys is not None:
        rows = rows.filter(fingerprint__in=[fingerprint_of(key) for key in keys])
    return {row.breaker_key: row for row in rows.select_for_update().order_by("pk")}


def heed(signs: Signs) -> None:
    """Do what the endings of one settle mean for breakers, in the caller's transaction."""
    by_key: dict[BreakerKey, list[tuple[Task, Sign]]] = defaultdict(list)
    for task, sign in signs:
        by_key[task.name, task.breaker_key].append((task, sign))
    for key in sorted(by_key):
        for _, sign in by_key[key]:
            if sign.meaning is Meaning.OPENS:
                _open(key, sign)
    for key, row in locked(by_key).items():
        _heed(row, by_key[key])


def _heed(row: OpenBreaker, signs: Signs) -> None:
    passed_count = 0
    for task, sign in signs:
        is_probe = row.is_open and row.probe == task.pk
        if sign.meaning is Meaning.PASSES and (is_probe or not row.is_open):
            passed_count += 1
            if is_probe:
                _close(row)
        elif is_probe and sign.meaning is Meaning.FAILS:
            row.failed_probe_count += 1
            _await_probe(row, sign.wait)
        elif is_probe and sign.meaning is Meaning.SKIPS:
            _await_probe(row, 0)
    if row.is_open:
        _ring(row, signs[0][0])
    elif passed_count:
        _let_through_or_end(row, GROWTH * passed_count)


def _open(key: BreakerKey, sign: Sign, by: str = "") -> bool:
    """Open a breaker; return whether it was not open."""
    next_probe_at = DatabaseNow.after(timedelta(seconds=sign.wait))
    about: dict[str, Any] = {
        "state": State.OPEN,
        "opened_by": by,
        "reason": storable(sign.reason, REASON_LIMIT),
        "exception_class_path": sign.exception_class_path,
        "probe_every": sign.probe_every,
        "next_probe_at": next_probe_at,
        "probe": None,
        "failed_probe_count": 0,
    }
    identity = {"name": key[0], "key": key[1], "opened_at": DatabaseNow()}
    row, is_new = OpenBreaker.objects.get_or_create(
        fingerprint=fingerprint_of(key), defaults=identity | about
    )
    rows = OpenBreaker.objects.filter(pk=row.pk)
    if not is_new:
        # Open already: it only waits longer if the service asks for that.
        rows.filter(state=State.OPEN, probe=None, next_probe_at__lt=next_probe_at).update(
            next_probe_at=next_probe_at
        )
    was_closed = is_new or bool(rows.filter(state=State.CLOSING).update(**about))
    if was_closed:
        _announce(locked([key])[key], "opened", sign.reason, by)
    return was_closed


def _close(row: OpenBreaker, by: str = "", reason: str = "") -> None:
    row.state, row.probe = State.CLOSING, None
    _store(row, state=row.state, probe=None)
    _announce(row, "closed", reason, by)


def _await_probe(row: OpenBreaker, seconds: float) -> None:
    row.probe = None
    row.next_probe_at = moments.after(_now(row), timedelta(seconds=seconds))
    counted = {"failed_probe_count": row.failed_probe_count}
    _store(row, probe=None, next_probe_at=row.next_probe_at, **counted)


def _ring(row: OpenBreaker, beside: Task) -> None:
    """Write a wake-up for the next probe, for the cluster of a Task; none inline."""
    if not wakes_clusters():
        return
    seconds = moments.between(_now(row), row.next_probe_at).total_seconds()
    wake = wakeups.later(max(0.0, seconds), row.next_probe_at)
    wakeups.write(clusters.key_for(beside.queue_name), [wake])


def _announce(row: OpenBreaker, change: str, reason: str, by: str) -> None:
    """Enqueue the Task that tells the site of a change."""
    about = [change, row.name, row.key, _now(row), reason, by]
    enqueue([internal_task(BREAKER_ENTRY, about)])


def let_due_probes_through() -> None:
    """Let a Task through where the time of the next probe has come; for the sweep and workers."""
    late = OpenBreaker.objects.filter(next_probe_at__lte=DatabaseNow())
    for key in [row.breaker_key for row in late]:
        with writing():
            for row in locked([key]).values():
                let_probe_through(row)


def let_probe_through(row: OpenBreaker) -> None:
    """Let a Task through a locked breaker if the time has come, and no probe runs.

    Without a waiting Task the breaker stays as it is, and the next Task is the probe. A closing
    breaker lets the stream begin anew.
    """
    if row.next_probe_at > _now(row):
        return
    if not row.is_open:
        _let_through_or_end(row, GROWTH)
    elif not (row.probe and _runs(row.probe)):
        for probe in _let_through(row, 1, suspect=True):
            row.probe = probe.pk
            _store(row, probe=row.probe, next_probe_at=_next_probe_at(row))


def _let_through_or_end(row: OpenBreaker, count: int) -> None:
    """Let Tasks through a closing breaker; delete its row once none waits behind it."""
    let = _let_through(row, count)
    if len(let) < count and not _behind(row, Task.objects.all()).exists():
        OpenBreaker.objects.filter(pk=row.pk).delete()
    else:
        _store(row, next_probe_at=_next_probe_at(row))


def _let_through(row: OpenBreaker, count: int, **changes: Any) -> list[Task]:
    """Make Tasks behind a locked breaker due, at their old place in the queue; return them."""
    tasks = list(_behind(row, lockable())[: min(count, CHUNK)])
    updates = [(task.pk, {**_let(task, row), **changes}) for task in tasks]
    writes.update_each(Task, updates)
    _wake_for(tasks)
    return tasks


def _wake_for(tasks: Sequence[Task]) -> None:
    """Wake a cluster unless enough wake-ups wait: Tasks are let through again and again."""
    if not wakes_clusters():
        wake_for([(task, wakeups.now()) for task in tasks])
        return
    for key in {clusters.key_for(task.queue_name) for task in tasks}:
        wake_cluster(key, least=0)


def stop_clocks(tasks: Iterable[Task]) -> None:
    """Add the time behind a breaker to the clocks of locked Tasks that an operator takes away."""
    behind = [task for task in tasks if task.is_behind_breaker]
    if not behind:
        return
    rows = OpenBreaker.objects.annotate(**{DATABASE_NOW: DatabaseNow()})
    by_moment: dict[datetime | None, OpenBreaker] = {row.parked_until: row for row in rows}
    pairs = [(task, by_moment.get(task.run_after)) for task in behind]
    updates = [(task.pk, _shifted(task, _held(task, row))) for task, row in pairs if row]
    writes.update_each(Task, updates)


def _let(task: Task, row: OpenBreaker) -> dict[str, Any]:
    """Return the values of a Task that is let through: its clocks have stood still meanwhile.

    It is queued anew, so that the same wait does not count twice if it must wait again.
    """
    now = _now(row)
    clocks = _shifted(task, _held(task, row))
    return {"run_after": min(task.queued_at, now), "queued_at": now, **clocks}


def _held(task: Task, row: OpenBreaker) -> timedelta:
    """Return how long a Task has waited behind a breaker."""
    return max(moments.between(max(task.queued_at, row.opened_at), _now(row)), moments.ZERO)


def _shifted(task: Task, held: timedelta) -> dict[str, Any]:
    """Return the new values of the clocks of a Task that stood still for so long."""
    return {
        "started_at": moments.later(task.started_at, held),
        "expires_at": moments.later(task.expires_at, held),
    }


def _behind(row: OpenBreaker, among: TaskQuerySet) -> TaskQuerySet:
    """Select the Tasks behind a breaker, by the claim's index."""
    return among.of_lanes(survey(NOTHING_PAUSED).oldest).filter(run_after=row.parked_until)


def free_stranded() -> None:
    """Make Tasks due that wait although no breaker is open, as after its row was deleted by hand.

    One call frees a thousand.
    """
    if OpenBreaker.objects.exists():
        return
    parked = Task.objects.of_lanes(survey(NOTHING_PAUSED).oldest)
    pks = list(parked.filter(run_after__gt=parked_moment()).values_list("pk", flat=True)[:CHUNK])
    Task.objects.filter(pk__in=pks, run_after__gt=parked_moment()).update(run_after=F("queued_at"))


def _runs(pk: uuid.UUID) -> bool:
    return bool(Task.objects.filter(pk=pk, status=Status.RUNNING).exists())


def _next_probe_at(row: OpenBreaker) -> datetime:
    return moments.after(_now(row), timedelta(seconds=row.probe_every))


def _now(row: OpenBreaker) -> datetime:
    now: datetime = getattr(row, DATABASE_NOW)
    return now


def _store(row: OpenBreaker, **values: Any) -> None:
    OpenBreaker.objects.filter(pk=row.pk).update(**values)
