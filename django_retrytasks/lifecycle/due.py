"""Pick due Tasks for a claim, from any number of lanes by a few queries.

The highest priority comes first, then the oldest run_after. With up to four lanes the order is
exact. With more, the lane with the oldest due Task may fill the whole claim, and each other lane a
share. So an older Task may be claimed one claim later than a younger one of another queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile
from math import ceil
from typing import Any

from django.db import connections

from django_retrytasks import database
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, seeks
from django_retrytasks.models import Task, TaskQuerySet

from . import lanes, pauses
from .lanes import Due, Lane, Paused

# At most so many paused Tasks are parked together.
PARK_CHUNK = 1000
# At most so many times one claim parks Tasks; then it takes the unpaused ones it has picked.
PARK_ROUNDS = 20
# Up to so many lanes may each fill the whole claim, so that it holds the oldest Tasks of all.
FEW = 4
# One query reads at least and at most so many lanes.
NARROW, WIDE = 10, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Locked Tasks, and the lanes that may hold more due Tasks."""

    tasks: Sequence[Task] = ()
    left: Due = field(default_factory=dict)


def pick(among: Due, limit: int, paused: Paused) -> Picked:
    """Lock due Tasks in the caller's transaction, and park paused ones.

    A suspect Task is picked alone.
    """
    picked = _pick(among, limit)
    for _ in range(PARK_ROUNDS):
        if not any(map(paused.holds, picked.tasks)):
            return picked
        pauses.park([task for task in _pick(among, PARK_CHUNK).tasks if paused.holds(task)])
        picked = _pick(among, limit)
    free = [task for task in picked.tasks if not paused.holds(task)]
    return Picked(tasks=free, left=picked.left)


def _pick(among: Due, limit: int) -> Picked:
    """Pick from lanes of the highest priority, and from others if these have too few.

    Go on to further lanes if other workers hold all due Tasks of the first ones.
    """
    left: Due = among
    tasks: list[Task] = []
    while left and not tasks:
        best = _with_highest_priority(left, min(limit, WIDE))
        tasks, is_all = _lock_due(best, limit)
        if tasks and tasks[0].suspect:
            return Picked(tasks=tasks[:1])
        if len(best) == 1 and not is_all:
            rest = {**left, best[0]: tasks[-1].run_after or left[best[0]]}
            return Picked(tasks=_without_suspects(tasks), left=lanes.best_first(rest))
        left = _past(left, best)
        if left and is_all and (missing := limit - len(tasks)):
            others = list(islice(left, min(WIDE, max(NARROW, missing))))
            tasks += _lock_due(others, missing)[0]
            left = _past(left, others)
    return Picked(tasks=_without_suspects(tasks), left=left)


def _with_highest_priority(among: Due, count: int) -> list[Lane]:
    highest = next(iter(among))[1]
    return list(islice(takewhile(lambda lane: lane[1] == highest, among), count))


def _lock_due(among: Sequence[Lane], limit: int) -> tuple[list[Task], bool]:
    """Lock due Tasks of lanes; return them in order, and whether no more are due there."""
    if len(among) == 1:
        tasks = _lock_oldest_of(among[0], limit)
        return tasks, len(tasks) < limit
    shares = dict.fromkeys(among, limit if len(among) <= FEW else ceil(limit / len(among)))
    shares[among[0]] = limit
    tasks = _lock_oldest(shares)
    counts = Counter((task.queue_name, task.priority) for task in tasks)
    full = [lane for lane, share in shares.items() if counts[lane] == share]
    # A full lane may have more due Tasks, and they come before all of lower priority.
    lowest = max((priority for _, priority in full), default=None)
    tasks = [task for task in tasks if lowest is None or task.priority >= lowest][:limit]
    return tasks, not full


def _lock_oldest_of(lane: Lane, limit: int) -> list[Task]:
    """Lock the oldest due Tasks of one lane; return them in order."""
    connection = connections[database.alias()]
    columns = f"*, {DatabaseNow.sql(connection)} AS {DATABASE_NOW}"
    sql = f"{lanes.due_sql(columns)} ORDER BY run_after LIMIT %s {_locking(connection)}"
    tasks = list(Task.objects.raw(sql, [*lane, limit]))
    read = DatabaseNow.read(map(database_now, tasks), connection)
    for task, now in zip(tasks, read, strict=True):
        setattr(task, DATABASE_NOW, now)
    return tasks


def _lock_oldest(shares: Mapping[Lane, int]) -> list[Task]:
    """Lock the oldest due Tasks of each lane, up to its share; return them in order."""
    connection = connections[database.alias()]
    sql = f"{lanes.due_sql('id')} ORDER BY run_after LIMIT %s {_locking(connection)}"
    as_pk = Task._meta.pk.to_python
    parameters = [(*lane, share) for lane, share in shares.items()]
    locked = [as_pk(pk) for _, pk in seeks.for_each(sql, parameters, database.alias())]
    # Locked again: that reads the current rows, in any isolation level.
    return list(lockable().filter(pk__in=locked).order_by("-priority", "run_after"))


def lockable() -> TaskQuerySet:
    """Select Tasks for update, skipping locked ones, each with the database's time."""
    now = {DATABASE_NOW: DatabaseNow()}
    return Task.objects.select_for_update(skip_locked=_skips_locked()).annotate(**now)


def database_now(picked: Task) -> datetime:
    """Return the database's time when a Task was picked."""
    now: datetime = getattr(picked, DATABASE_NOW)
    return now


def _locking(connection: Any) -> str:
    """Return the end of a SELECT that locks its rows and skips locked ones."""
    if not connection.features.has_select_for_update:
        return ""
    return str(connection.ops.for_update_sql(skip_locked=_skips_locked()))


def _skips_locked() -> bool:
    return connections[database.alias()].features.has_select_for_update_skip_locked


def _past(among: Due, first: Sequence[Lane]) -> Due:
    return dict(islice(among.items(), len(first), None))


def _without_suspects(tasks: Sequence[Task]) -> Sequence[Task]:
    if tasks and tasks[0].suspect:
        return tasks[:1]
    return [task for task in tasks if not task.suspect]
