"""Lanes: a queue and a priority, which is one range of the claim's index; and what is paused.

A paused queue's lanes are not claimed from. A Task of a paused function is parked when a claim
comes across it: moved to the end of its lane, where no claim looks, and back when it is resumed. So
each is touched once, and a claim costs the same however many are paused.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import F

from . import moments, seeks, wakeups
from .internal import ANNOUNCE_PRIORITY
from .models import PARKED, DatabaseNow, Pause, Status, Task, TaskQuerySet
from .transactions import writing

Lane = tuple[str, int]
"""A queue's name and a priority."""
Due = Mapping[Lane, datetime]
"""Lanes with due Tasks, the best first, and when the oldest of each came due."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The lanes that hold unfinished Tasks, at one moment."""

    oldest: Mapping[Lane, datetime]
    """When the first Task of each lane comes due, or came, by queue and priority."""
    at: datetime | None
    """The database's time; None where there is no lane."""

    @property
    def due(self) -> Due:
        """Return the lanes with due Tasks."""
        return best_first({lane: self.oldest[lane] for lane in self.lags})

    @property
    def lags(self) -> dict[Lane, float]:
        """Return for how many seconds the oldest due Task of each lane has been due."""
        return {lane: -wait for lane, wait in self._waits().items() if wait <= 0}

    @property
    def lag(self) -> float:
        """Return the greatest lag of all lanes; 0 if nothing is due."""
        return max(self.lags.values(), default=0.0)

    @property
    def wait(self) -> float | None:
        """Return the seconds until the next Task comes due, or the next lease ends.

        0 or below where one is due; None where there is no lane.
        """
        return min(self._waits().values(), default=None)

    def of(self, key: str) -> Survey:
        """Return the lanes of a cluster."""
        keys = wakeups.keys_for(name for name, _ in self.oldest)
        oldest = {lane: at for lane, at in self.oldest.items() if keys[lane[0]] == key}
        return Survey(oldest=oldest, at=self.at if oldest else None)

    def _waits(self) -> dict[Lane, float]:
        now = self.at
        if now is None:
            return {}
        waits = {lane: moments.between(now, at) for lane, at in self.oldest.items()}
        return {lane: wait.total_seconds() for lane, wait in waits.items()}


def survey(paused: Paused | None = None) -> Survey:
    """Look at the lanes of all clusters: one query, a seek or two in the claim's index for each.

    So the cost does not grow with the Tasks waiting.

    Args:
        paused: what is left out; None: what is paused now.
    """
    paused = paused_now() if paused is None else paused
    found, now = seeks.earliest(_rows(), ("queue_name", "priority"), "run_after")
    oldest = {(name, n): at for (name, n), at in found.items() if not paused.skips((name, n))}
    return Survey(oldest=oldest, at=now if oldest else None)


def best_first(due: Due) -> Due:
    """Return the lanes by priority, the highest first, then by their oldest due Task."""
    return dict(sorted(due.items(), key=lambda one: (-one[0][1], one[1])))


def due_counts(due: Due, limit: int) -> dict[Lane, int]:
    """Count the due Tasks of each lane, up to a limit; a query for each 500 lanes."""
    sql = f"SELECT COUNT(*) FROM ({due_sql('1')} LIMIT {limit}) counted"  # noqa: S608
    return dict(seeks.for_each(sql, due, wakeups.alias()))


def due_sql(columns: str) -> str:
    """Return the query for the due Tasks of a lane: to be given its queue's name and priority."""
    now, _ = _rows().query.get_compiler(wakeups.alias()).compile(DatabaseNow())
    return (
        f"SELECT {columns} FROM {Task._meta.db_table}"  # noqa: S608
        f" WHERE queue_name = %s AND priority = %s AND run_after <= {now}"
    )


def queue_names(limit: int) -> list[str]:
    """Return queues that hold Tasks, finished or not, in alphabetical order."""
    return seeks.distinct(_rows(), "queue_name", limit)


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
    while _unpark():
        pass
    for key in set(wakeups.keys_for(name for name, _ in survey().oldest).values()):
        wakeups.ring(key, [wakeups.now()] * wakeups.workers_of(key))
    return bool(deleted)


def park(tasks: Sequence[Task]) -> None:
    """Move waiting Tasks that are paused to where no claim looks, in the caller's transaction."""
    # Locked, so that a resume that this claim does not see yet waits, and finds them parked.
    list(Pause.objects.using(wakeups.alias()).select_for_update())
    paused = paused_now()
    held = [task.pk for task in tasks if paused.holds(task)]
    _rows().filter(pk__in=held).update(run_after=_parked())


def _unpark() -> int:
    """Move some parked Tasks back, but none of paused functions; return how many."""
    rows, lanes = _rows(), survey(paused=NOTHING_PAUSED).oldest
    parked = rows.of_lanes(lanes).filter(run_after=_parked()).exclude(name__in=paused_now().names)
    with writing():
        found: list[uuid.UUID] = [task.pk for task in parked.select_for_update()[:CHUNK]]
        return int(rows.filter(pk__in=found).update(run_after=F("queued_at")))


def _parked() -> datetime:
    return PARKED if settings.USE_TZ else PARKED.replace(tzinfo=None)


def _refuse_both(queue_name: str, name: str) -> None:
    if bool(queue_name) == bool(name):
        raise TypeError("give queue_name or name, one of the two")
