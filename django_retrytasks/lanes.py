"""Lanes: a queue and a priority, which is one range of the claim's index; and what is paused.

A paused queue's lanes are not claimed from. A Task of a paused function is parked when a claim
comes across it: moved to the end of its lane, where no claim looks, and back when it is resumed. So
each is touched once, and a claim costs the same however many are paused.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import connections
from django.db.models import Exists, F

from . import seeks, wakeups
from .models import PARKED, DatabaseNow, Pause, Status, Task, TaskQuerySet
from .transactions import writing

Lane = tuple[str, int]
"""A queue's name and a priority."""

# Internal Tasks have this priority, and run in a paused queue as well.
ANNOUNCE_PRIORITY = 100
CHUNK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The queues and the functions that are paused, by name."""

    queue_names: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()

    def skips(self, lane: Lane) -> bool:
        """Whether nothing is to be claimed from a lane."""
        return lane[0] in self.queue_names and lane[1] != ANNOUNCE_PRIORITY

    def holds(self, task: Task) -> bool:
        """Whether a Task is to wait. One whose worker was lost is to be settled first."""
        is_named = task.name in self.names or task.queue_name in self.queue_names
        return is_named and not task.internal and task.status != Status.RUNNING


NOTHING_PAUSED = Paused()


# ---- lanes


def lanes_of(key: str, paused: Paused | None = None) -> list[Lane]:
    """Return the lanes of a cluster that hold unfinished Tasks, highest priority first.

    Each is found by a seek in the claim's index, so the cost does not grow with the Tasks waiting.
    Paused ones are left out.
    """
    paused = paused_now() if paused is None else paused
    queues = [name for name in queue_names() if wakeups.key_for(name) == key]
    found = [lane for lane in _lanes_in(queues) if not paused.skips(lane)]
    return sorted(found, key=lambda lane: -lane[1])


def running_lanes(paused: Paused | None = None) -> list[Lane]:
    """Return the lanes of all clusters that hold unfinished Tasks, paused ones left out."""
    paused = paused_now() if paused is None else paused
    return [lane for lane in all_lanes() if not paused.skips(lane)]


def all_lanes() -> list[Lane]:
    """Return the lanes of all clusters that hold unfinished Tasks, by queue and priority."""
    return _lanes_in(queue_names())


def _lanes_in(queue_names: Iterable[str]) -> list[Lane]:
    queues = {name: _indexed().filter(queue_name=name) for name in queue_names}
    if len(queues) == 1:  # what most clusters have; a plain walk is the cheaper one then
        [(name, rows)] = queues.items()
        lanes = [(name, priority) for priority in seeks.distinct(rows, "priority")]
    else:
        lanes = _walk_all(queues)
    return sorted(lanes if _is_partial() else _holding_unfinished(lanes))


def _walk_all(queues: Mapping[str, TaskQuerySet]) -> list[Lane]:
    """Walk the priorities of all queues at once, by a query for each step."""
    lanes: list[Lane] = []
    while queues:
        lowest = {
            name: seeks.first(rows.order_by("priority"), "priority")
            for name, rows in queues.items()
        }
        found = [lane for lane in seeks.answers(_rows(), lowest).items() if lane[1] is not None]
        lanes += found
        queues = {name: queues[name].filter(priority__gt=priority) for name, priority in found}
    return lanes


def _holding_unfinished(lanes: Sequence[Lane]) -> list[Lane]:
    found = seeks.answers(_rows(), {lane: Exists(_rows().of_lane(*lane)) for lane in lanes})
    return [lane for lane, holds in found.items() if holds]


def queue_names() -> Iterator[str]:
    """Walk the queues that hold Tasks, in alphabetical order: unfinished ones, or any on MariaDB
    and MySQL."""
    return seeks.distinct(_indexed(), "queue_name")


def _indexed() -> TaskQuerySet:
    """Return the Tasks that the claim's index holds: all, where no index has a condition.

    To ask it there for unfinished ones alone would be to walk over the finished.
    """
    return _rows().unfinished() if _is_partial() else _rows()


def _is_partial() -> bool:
    return connections[wakeups.alias()].features.supports_partial_indexes


def _rows() -> TaskQuerySet:
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows


# ---- what is paused


def paused_now() -> Paused:
    """Return what is paused."""
    rows = list(Pause.objects.using(wakeups.alias()).values_list("queue_name", "name"))
    return Paused(
        queue_names=frozenset(queue_name for queue_name, _ in rows if queue_name),
        names=frozenset(name for _, name in rows if name),
    )


def pause(*, queue_name: str = "", name: str = "", by: str = "", reason: str = "") -> bool:
    """Have the due Tasks of a queue, or of a function, wait uncharged until it is resumed.

    What runs is not interrupted. Workers know within about a slice.

    Args:
        queue_name: the queue; or else
        name: the function's dotted path.
        by: who pauses it.
        reason: why, in words.

    Returns whether it was not paused before.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
    """
    _refuse_both(queue_name, name)
    about = {"paused_at": DatabaseNow(), "paused_by": by, "reason": reason}
    with writing():
        rows = Pause.objects.using(wakeups.alias())
        _, is_new = rows.get_or_create(queue_name=queue_name, name=name, defaults=about)
    return is_new


def resume(*, queue_name: str = "", name: str = "") -> bool:
    """Have a paused queue, or function, go on; return whether it was paused.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
    """
    _refuse_both(queue_name, name)
    with writing():
        row = Pause.objects.using(wakeups.alias()).filter(queue_name=queue_name, name=name)
        deleted, _ = row.delete()
    for lane in all_lanes():
        while _unpark(lane):
            pass
        key = wakeups.key_for(lane[0])
        wakeups.ring(key, [wakeups.now()] * wakeups.workers_of(key))
    return bool(deleted)


def park(tasks: Sequence[Task]) -> None:
    """Move waiting Tasks that are paused to where no claim looks, in the caller's transaction."""
    # Locked, so that a resume that this claim does not see yet waits, and finds them parked.
    list(Pause.objects.using(wakeups.alias()).select_for_update())
    paused = paused_now()
    held = [task.pk for task in tasks if paused.holds(task)]
    _rows().filter(pk__in=held).update(run_after=_parked())


def _unpark(lane: Lane) -> int:
    """Move some parked Tasks of a lane back, unless they are paused still; return how many."""
    paused = paused_now()
    if lane[0] in paused.queue_names:
        return 0
    rows = _rows()
    parked = rows.of_lane(*lane).filter(run_after=_parked()).exclude(name__in=paused.names)
    with writing():
        found: list[uuid.UUID] = [task.pk for task in parked.select_for_update()[:CHUNK]]
        return int(rows.filter(pk__in=found).update(run_after=F("queued_at")))


def _parked() -> datetime:
    return PARKED if settings.USE_TZ else PARKED.replace(tzinfo=None)


def _refuse_both(queue_name: str, name: str) -> None:
    if bool(queue_name) == bool(name):
        raise TypeError("give queue_name or name, one of the two")
