"""Lanes: the Tasks of one queue at one priority, and a survey of the due ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db import connections
from django.db.models import Value

from django_retrytasks import database
from django_retrytasks.broker import clusters
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, seeks
from django_retrytasks.models import (
    BreakerKey,
    OpenBreaker,
    Pause,
    Status,
    Task,
)
from django_retrytasks.values import moments

from .internal import ANNOUNCE_PRIORITY

Lane = tuple[str, int]
"""A queue's name and a priority."""
Due = Mapping[Lane, datetime]
"""Lanes with due Tasks, the best first, each with the run_after of its oldest Task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The names of paused queues and functions, and the breakers that are not closed."""

    queue_names: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    breakers: Mapping[BreakerKey, OpenBreaker] = field(default_factory=dict)

    def skips(self, lane: Lane) -> bool:
        """Whether no Task of a lane may be claimed."""
        return lane[0] in self.queue_names and lane[1] != ANNOUNCE_PRIORITY

    def holds(self, task: Task) -> bool:
        """Whether a Task must wait. A lapsed Task need not: its lost attempt is settled first."""
        if task.internal or task.status == Status.RUNNING:
            return False
        is_named = task.name in self.names or task.queue_name in self.queue_names
        return is_named or self.breaker_before(task) is not None

    def breaker_before(self, task: Task) -> OpenBreaker | None:
        """Return the open breaker that a Task must wait for; None: there is none."""
        row = self.breakers.get((task.name, task.breaker_key)) if self.breakers else None
        return row if row and row.holds(task) else None

    def parked_until(self, task: Task) -> datetime:
        """Return the run_after of a Task that must wait: its pause comes before its breaker."""
        is_named = task.name in self.names or task.queue_name in self.queue_names
        row = None if is_named else self.breaker_before(task)
        return row.parked_until if row else moments.parked_moment()


NOTHING_PAUSED = Paused()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The lanes that hold unfinished Tasks, at one moment."""

    oldest: Mapping[Lane, datetime]
    """The earliest run_after of each lane, by queue and priority."""
    at: datetime | None
    """The database's time; None if there is no lane."""

    @property
    def due(self) -> Due:
        """Return the lanes with due Tasks."""
        return best_first({lane: self.oldest[lane] for lane in self.lags})

    @property
    def lags(self) -> dict[Lane, float]:
        """Return the seconds since the oldest due Task of each lane became due."""
        return {lane: -wait for lane, wait in self._waits().items() if wait <= 0}

    @property
    def lag(self) -> float:
        """Return the greatest lag of all lanes; 0 if no Task is due."""
        return max(self.lags.values(), default=0.0)

    @property
    def wait(self) -> float | None:
        """Return the seconds until the next Task becomes due, or the next lease ends.

        0 or below if a Task is due; None if there is no lane.
        """
        return min(self._waits().values(), default=None)

    def for_cluster(self, key: str) -> Survey:
        """Return the survey of one cluster's lanes, by the cluster's key."""
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
    """Survey the lanes of all clusters by one query: a seek or two in the claim's index for each.

    The cost does not grow with the number of Tasks.

    Args:
        paused: the pauses whose lanes are left out; None: the current ones.
    """
    paused = paused_now() if paused is None else paused
    earliest, now = seeks.earliest(Task.objects.all(), ("queue_name", "priority"), "run_after")
    oldest = {(name, n): at for (name, n), at in earliest.items() if not paused.skips((name, n))}
    return Survey(oldest=oldest, at=now if oldest else None)


def best_first(due: Due) -> Due:
    """Return the lanes by priority, the highest first, then by their oldest due Task."""
    return dict(sorted(due.items(), key=lambda entry: (-entry[0][1], entry[1])))


def due_counts(due: Due, limit: int) -> dict[Lane, int]:
    """Count the due Tasks of each lane, up to a limit; one query for each 500 lanes."""
    sql = f"SELECT COUNT(*) FROM ({due_sql('1')} LIMIT {limit}) counted"  # noqa: S608
    return dict(seeks.for_each(sql, due, database.alias()))


def due_sql(columns: str) -> str:
    """Return SQL for the due Tasks of a lane; its parameters are queue name and priority."""
    now = DatabaseNow.sql(connections[database.alias()])
    return (
        f"SELECT {columns} FROM {Task._meta.db_table}"  # noqa: S608
        f" WHERE queue_name = %s AND priority = %s AND run_after <= {now}"
    )


def queue_names(limit: int) -> list[str]:
    """Return queues with Tasks, finished or not, in alphabetical order."""
    return seeks.distinct(Task.objects.all(), "queue_name", limit)


def paused_now() -> Paused:
    """Return the current pauses and the breakers that are not closed.

    One query; a second one if there are breakers.
    """
    pauses = Pause.objects.values_list("queue_name", "name", Value(0))
    breakers = OpenBreaker.objects.values_list(Value(""), "name", Value(1))
    rows = list(pauses.union(breakers, all=True))
    return Paused(
        queue_names=frozenset(queue_name for queue_name, _, _ in rows if queue_name),
        names=frozenset(name for _, name, is_breaker in rows if name and not is_breaker),
        breakers=_breakers() if any(is_breaker for *_, is_breaker in rows) else {},
    )


def _breakers() -> Mapping[BreakerKey, OpenBreaker]:
    rows = OpenBreaker.objects.annotate(**{DATABASE_NOW: DatabaseNow()})
    return {row.breaker_key: row for row in rows}
