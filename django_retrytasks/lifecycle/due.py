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
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, reads, seeks
from django_retrytasks.models import Task, TaskQuerySet
from django_retrytasks.policy import StopReason

from . import lanes, pauses
from .lanes import NOTHING_PAUSED, Due, Lane, Paused
from .operating import drop
from .rows import CHUNK, lockable, skips_locked

# Up to so many lanes may each fill the whole claim, so that it holds the oldest Tasks of all.
FEW = 4
# One query reads at least and at most so many lanes.
NARROW, WIDE = 10, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Locked Tasks, expired ones, and the lanes that may hold more due Tasks."""

    tasks: Sequence[Task] = ()
    expired: Sequence[Task] = ()
    left: Due = field(default_factory=dict)


def pick(among: Due, limit: int, paused: Paused) -> Picked:
    """Lock due Tasks in the caller's transaction; park those that must wait, drop expired ones.

    A suspect Task is picked alone. If none of the picked Tasks may run, more may be due: no Task is
    returned, but their lanes.
    """
    picked, expired = _pick(among, limit), list[Task]()
    free = _set_aside(picked.tasks, paused, expired)
    if 2 * len(free) < len(picked.tasks):
        # Many at once, for the next claims.
        _set_aside(_pick(among, CHUNK).tasks, paused, expired)
    left = picked.left if free or not picked.tasks else among
    return Picked(tasks=free, expired=expired, left=left)


def pick_one(tasks: TaskQuerySet) -> Picked:
    """Lock the best of these waiting Tasks, due or not; drop expired ones."""
    best = tasks.order_by("-priority", "run_after")
    expired: list[Task] = []
    while picked := list(best[:1]):
        if free := _set_aside(picked, NOTHING_PAUSED, expired):
            return Picked(tasks=free, expired=expired)
    return Picked(expired=expired)


def _set_aside(tasks: Sequence[Task], paused: Paused, expired: list[Task]) -> Sequence[Task]:
    """Park Tasks that must wait, drop expired ones and add them to ``expired``; return the rest.

    The time behind a breaker does not count into ``expires``.
    """
    late = [
        task
        for task in tasks
        if paused.breaker_before(task) is None and task.is_expired(database_now(task))
    ]
    aside = {task.pk for task in late}
    held = [task for task in tasks if paused.holds(task) and task.pk not in aside]
    if late:
        drop(late, StopReason.EXPIRED)
        expired += late
    if held:
        pauses.park(held)
        aside |= {task.pk for task in held}
    return [task for task in tasks if task.pk not in aside]


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
    columns = f"{reads.columns_of(Task)}, {DatabaseNow.sql(connection)}"
    sql = f"{lanes.due_sql(columns)} ORDER BY run_after LIMIT %s {_locking(connection)}"
    return reads.rows_of(Task, sql, [*lane, limit], {DATABASE_NOW: DatabaseNow()})


def _lock_oldest(shares: Mapping[Lane, int]) -> list[Task]:
    """Lock the oldest due Tasks of each lane, up to its share; return them in order."""
    connection = connections[database.alias()]
    sql = f"{lanes.due_sql('id')} ORDER BY run_after LIMIT %s {_locking(connection)}"
    as_pk = Task._meta.pk.to_python
    parameters = [(*lane, share) for lane, share in shares.items()]
    locked = [as_pk(pk) for _, pk in seeks.for_each(sql, parameters, database.alias())]
    # Locked again: that reads the current rows, in any isolation level.
    return list(lockable().filter(pk__in=locked).order_by("-priority", "run_after"))


def database_now(picked: Task) -> datetime:
    """Return the database's time when a Task was picked."""
    now: datetime = getattr(picked, DATABASE_NOW)
    return now


def _locking(connection: Any) -> str:
    """Return the end of a SELECT that locks its rows and skips locked ones."""
    if not connection.features.has_select_for_update:
        return ""
    return str(connection.ops.for_update_sql(skip_locked=skips_locked()))


def _past(among: Due, first: Sequence[Lane]) -> Due:
    return dict(islice(among.items(), len(first), None))


def _without_suspects(tasks: Sequence[Task]) -> Sequence[Task]:
    if tasks and tasks[0].suspect:
        return tasks[:1]
    return [task for task in tasks if not task.suspect]
