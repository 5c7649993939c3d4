"""Due Tasks, picked to be claimed: over however many lanes, by a few queries.

The highest priority comes first, and within it the oldest run_after. Where few lanes have due Tasks
that holds to the Task. Of many lanes, the one that has waited for longest is asked for a whole
claim, and each other one for a share: an older Task may come a claim after a younger one of another
queue.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile
from math import ceil

from django.db import connections

from django_retrytasks import database
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, seeks
from django_retrytasks.models import Task, TaskQuerySet

from . import lanes, pauses
from .lanes import Due, Lane, Paused

# Among how many Tasks those that are paused are looked for, to be parked.
PARK_CHUNK = 1000
# How often one claim parks what is paused before it makes do with what it has found.
PARK_ROUNDS = 20
# Lanes of which each is asked for a whole claim, so that it holds the oldest of them all.
FEW = 4
# How many lanes one query asks, at least and at most.
NARROW, WIDE = 10, 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Picked:
    """Locked Tasks, and the lanes that hold more due Tasks, as far as is known."""

    tasks: Sequence[Task] = ()
    left: Due = field(default_factory=dict)


def pick(among: Due, limit: int, paused: Paused) -> Picked:
    """Lock due Tasks in the caller's transaction; those that are paused are parked, many at a time.

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

    Goes on to further lanes where other workers have taken all that was due in those.
    """
    left: Due = among
    found: list[Task] = []
    while left and not found:
        best = _of_highest_priority(left, min(limit, WIDE))
        found, is_all = _find(best, limit)
        if found and found[0].suspect:
            return Picked(tasks=found[:1])
        if len(best) == 1 and not is_all:
            rest = {**left, best[0]: found[-1].run_after or left[best[0]]}
            return Picked(tasks=_without_suspects(found), left=lanes.best_first(rest))
        left = _past(left, best)
        if left and is_all and (missing := limit - len(found)):
            others = list(islice(left, min(WIDE, max(NARROW, missing))))
            found += _find(others, missing)[0]
            left = _past(left, others)
    return Picked(tasks=_without_suspects(found), left=left)


def _of_highest_priority(among: Due, count: int) -> list[Lane]:
    highest = next(iter(among))[1]
    return list(islice(takewhile(lambda lane: lane[1] == highest, among), count))


def _find(among: Sequence[Lane], limit: int) -> tuple[list[Task], bool]:
    """Lock due Tasks of these lanes; return them in order, and whether no more are due there."""
    if len(among) == 1:
        found = list(lockable().of_lane(*among[0]).due().order_by("run_after")[:limit])
        return found, len(found) < limit
    shares = dict.fromkeys(among, limit if len(among) <= FEW else ceil(limit / len(among)))
    shares[among[0]] = limit
    found = _lock_oldest(shares)
    counts = Counter((task.queue_name, task.priority) for task in found)
    full = [lane for lane, share in shares.items() if counts[lane] == share]
    # What more may be due in these comes before all of lower priority.
    lowest = max((priority for _, priority in full), default=None)
    found = [task for task in found if lowest is None or task.priority >= lowest][:limit]
    return found, not full


def _lock_oldest(shares: Mapping[Lane, int]) -> list[Task]:
    """Lock the oldest due Tasks of each lane, at most so many; return them in order."""
    connection = connections[database.alias()]
    lock = connection.ops.for_update_sql(skip_locked=_skips_locked())
    sql = f"{lanes.due_sql('id')} ORDER BY run_after LIMIT %s"
    if connection.features.has_select_for_update:
        sql += f" {lock}"
    as_pk = Task._meta.pk.to_python
    asked = [(*lane, share) for lane, share in shares.items()]
    locked = [as_pk(pk) for _, pk in seeks.for_each(sql, asked, database.alias())]
    # Locked once more, so that the rows are read as they are now, in any isolation.
    return list(lockable().filter(pk__in=locked).order_by("-priority", "run_after"))


def lockable() -> TaskQuerySet:
    """Return the Tasks, to be locked unless another session has: each with the database's time."""
    now = {DATABASE_NOW: DatabaseNow()}
    return Task.objects.select_for_update(skip_locked=_skips_locked()).annotate(**now)


def database_now(picked: Task) -> datetime:
    """Return the database's time at which a Task was picked."""
    now: datetime = getattr(picked, DATABASE_NOW)
    return now


def _skips_locked() -> bool:
    return connections[database.alias()].features.has_select_for_update_skip_locked


def _past(among: Due, first: Sequence[Lane]) -> Due:
    return dict(islice(among.items(), len(first), None))


def _without_suspects(tasks: Sequence[Task]) -> Sequence[Task]:
    if tasks and tasks[0].suspect:
        return tasks[:1]
    return [task for task in tasks if not task.suspect]
