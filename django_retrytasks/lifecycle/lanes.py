"""Lanes: the Tasks of one queue at one priority, and which of them hold due Tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from django_retrytasks import database
from django_retrytasks.broker import clusters
from django_retrytasks.database import DatabaseNow, seeks
from django_retrytasks.models import Pause, Status, Task
from django_retrytasks.values import moments

from .internal import ANNOUNCE_PRIORITY

Lane = tuple[str, int]
"""A queue's name and a priority."""
Due = Mapping[Lane, datetime]
"""Lanes with due Tasks, the best first, and when the oldest of each came due."""


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

    def for_cluster(self, key: str) -> Survey:
        """Return the lanes of a cluster."""
        keys = clusters.keys_for(name for name, _ in self.oldest)
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
    found, now = seeks.earliest(Task.objects.all(), ("queue_name", "priority"), "run_after")
    oldest = {(name, n): at for (name, n), at in found.items() if not paused.skips((name, n))}
    return Survey(oldest=oldest, at=now if oldest else None)


def best_first(due: Due) -> Due:
    """Return the lanes by priority, the highest first, then by their oldest due Task."""
    return dict(sorted(due.items(), key=lambda one: (-one[0][1], one[1])))


def due_counts(due: Due, limit: int) -> dict[Lane, int]:
    """Count the due Tasks of each lane, up to a limit; a query for each 500 lanes."""
    sql = f"SELECT COUNT(*) FROM ({due_sql('1')} LIMIT {limit}) counted"  # noqa: S608
    return dict(seeks.for_each(sql, due, database.alias()))


def due_sql(columns: str) -> str:
    """Return the query for the due Tasks of a lane: to be given its queue's name and priority."""
    now, _ = Task.objects.all().query.get_compiler(database.alias()).compile(DatabaseNow())
    return (
        f"SELECT {columns} FROM {Task._meta.db_table}"  # noqa: S608
        f" WHERE queue_name = %s AND priority = %s AND run_after <= {now}"
    )


def queue_names(limit: int) -> list[str]:
    """Return queues that hold Tasks, finished or not, in alphabetical order."""
    return seeks.distinct(Task.objects.all(), "queue_name", limit)


def paused_now() -> Paused:
    """Return what is paused."""
    rows = list(Pause.objects.values_list("queue_name", "name"))
    return Paused(
        queue_names=frozenset(queue_name for queue_name, _ in rows if queue_name),
        names=frozenset(name for _, name in rows if name),
    )
