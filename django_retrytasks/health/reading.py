"""Read the health of the work, from the rows alone.

A check takes seven queries, one more for each further 500 lanes with due Tasks, and one if a
breaker is not closed. It reads due Tasks by seeks in the claim's index, running Tasks in the index
of the statuses, and the latest attempt by its key. So the cost does not grow with the number of
Tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Max

from django_retrytasks.broker import sweep_schedule
from django_retrytasks.database.seeks import CountOf, evaluate, first
from django_retrytasks.lifecycle.lanes import NOTHING_PAUSED, Lane, due_counts, paused_now, survey
from django_retrytasks.models import Attempt, OpenBreaker, Status, Task, TaskQuerySet

# At most so many due Tasks are counted in each queue: a count walks the index.
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:
    """One queue with unfinished Tasks."""

    queue_name: str
    due_count: int
    """Tasks that could run now; at most 10,000 are counted."""
    lag: float
    """Seconds since its oldest due Task became due; 0 if none is due or the queue is paused."""
    is_paused: bool
    """Whether its Tasks wait until it is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerHealth:
    """A breaker that is open, or lets the Tasks behind it through."""

    name: str
    """The function."""
    key: str
    """The value that it is for; "" for all Tasks of the function."""
    is_open: bool
    """Whether due Tasks wait."""
    opened_at: datetime
    """Since when."""
    opened_by: str
    """Who opened it; "" for a worker."""
    reason: str
    """Why, in words."""
    next_probe_at: datetime
    """Earliest moment of the next probe."""

    def __str__(self) -> str:
        return f"{self.name} ({self.key})" if self.key else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The health of the work at one moment, by the database's clock."""

    queues: Sequence[QueueHealth]
    """Every queue that holds unfinished Tasks, by name."""
    paused_names: Sequence[str]
    """Functions whose Tasks wait until they are resumed."""
    breakers: Sequence[BreakerHealth]
    """The breakers that are not closed, by function and key."""
    running_count: int
    """Tasks under a claim. A dead worker's Task counts until its lease ends."""
    last_claim_at: datetime | None
    """Latest claim of a running Task or of the latest attempt's Task. None: none yet."""
    swept_at: datetime | None
    """When the sweep was last handed to a cluster, by host time. None: no Schedule."""
    broken_schedules: Sequence[str]
    """The Schedules that django-q2 cannot run, each with the reason; they block all others."""

    @property
    def lag(self) -> float:
        """Return the seconds since the oldest due Task became due; 0 if none is due."""
        return max((queue.lag for queue in self.queues), default=0.0)


def check() -> Health:
    """Return the health of all clusters' work."""
    seen, paused = survey(NOTHING_PAUSED), paused_now()
    lags = {lane: lag for lane, lag in seen.lags.items() if not paused.skips(lane)}
    counts, totals = due_counts(seen.due, COUNT_LIMIT), evaluate(Task.objects.all(), _totals())
    queues = [
        QueueHealth(
            queue_name=name,
            due_count=min(COUNT_LIMIT, sum(counts.get(lane, 0) for lane in lanes)),
            lag=max(lags.get(lane, 0.0) for lane in lanes),
            is_paused=name in paused.queue_names,
        )
        for name, lanes in _by_queue(seen.oldest).items()
    ]
    claims = (running().aggregate(at=Max("claimed_at"))["at"], totals.get("claimed_last"))
    return Health(
        queues=queues,
        paused_names=sorted(paused.names),
        breakers=[_breaker(row) for _, row in sorted(paused.breakers.items())],
        running_count=totals.get("running", 0),
        last_claim_at=max((at for at in claims if at), default=None),
        swept_at=sweep_schedule.swept_at(),
        broken_schedules=sweep_schedule.broken_schedules(),
    )


def _breaker(row: OpenBreaker) -> BreakerHealth:
    return BreakerHealth(**{each.name: getattr(row, each.name) for each in fields(BreakerHealth)})


def running() -> TaskQuerySet:
    """Return the Tasks under a claim, by the index that begins with the two columns."""
    return Task.objects.filter(internal__in=(False, True), status=Status.RUNNING)


def _by_queue(lanes: Iterable[Lane]) -> dict[str, list[Lane]]:
    by_queue: dict[str, list[Lane]] = defaultdict(list)
    for lane in lanes:
        by_queue[lane[0]].append(lane)
    return by_queue


def _totals() -> dict[Any, Any]:
    attempts = Attempt.objects.order_by("-pk")
    return {
        "running": CountOf(running().values("pk")),
        "claimed_last": first(attempts, "task__claimed_at"),
    }
