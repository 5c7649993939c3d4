"""How the work goes: read from the rows alone, at the same cost whatever waits.

A check takes seven queries, and one more for each further 500 lanes with due Tasks.

Due Tasks are found by seeks in the claim's index, running ones in that of the statuses, and the
latest attempt by its key. Nothing here reads a table through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max

from .broker import sweep_schedule
from .database.seeks import CountOf, evaluate, first
from .lifecycle.lanes import NOTHING_PAUSED, Lane, due_counts, paused_now, survey
from .models import Attempt, Status, Task, TaskQuerySet

# Due Tasks are counted up to so many in each queue: a count walks the index.
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:
    """One queue with unfinished Tasks."""

    queue_name: str
    due_count: int
    """Tasks that might run now; at most 10,000 are counted."""
    lag: float
    """Seconds for which its oldest due Task has been due; 0 if none is, or the queue is paused."""
    is_paused: bool
    """Whether its Tasks wait until it is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the work goes at one moment, by the database's clock."""

    queues: Sequence[QueueHealth]
    """Every queue that holds unfinished Tasks, by name."""
    paused_names: Sequence[str]
    """Functions whose Tasks wait until they are resumed."""
    running_count: int
    """Tasks under a claim, those of dead workers included until their lease ends."""
    last_claim_at: datetime | None
    """When a claim was last seen: by a running Task or by the latest attempt. None: never."""
    swept_at: datetime | None
    """When a cluster was last handed the sweep, by its host's clock. None: not scheduled."""
    broken_schedules: Sequence[str]
    """The Schedules that django-q2 cannot run, each with the reason; they hold up all others."""

    @property
    def lag(self) -> float:
        """Return the seconds for which the oldest due Task has been due; 0 if none is."""
        return max((queue.lag for queue in self.queues), default=0.0)


def check() -> Health:
    """Look at the work of all clusters."""
    seen, paused = survey(NOTHING_PAUSED), paused_now()
    lags = {lane: lag for lane, lag in seen.lags.items() if not paused.skips(lane)}
    counts, found = due_counts(seen.due, COUNT_LIMIT), evaluate(Task.objects.all(), _of_all())
    queues = [
        QueueHealth(
            queue_name=name,
            due_count=min(COUNT_LIMIT, sum(counts.get(lane, 0) for lane in of_queue)),
            lag=max(lags.get(lane, 0.0) for lane in of_queue),
            is_paused=name in paused.queue_names,
        )
        for name, of_queue in _by_queue(seen.oldest).items()
    ]
    claims = (running().aggregate(at=Max("claimed_at"))["at"], found.get("claimed_last"))
    return Health(
        queues=queues,
        paused_names=sorted(paused.names),
        running_count=found.get("running", 0),
        last_claim_at=max((at for at in claims if at), default=None),
        swept_at=sweep_schedule.swept_at(),
        broken_schedules=sweep_schedule.broken_schedules(),
    )


def running() -> TaskQuerySet:
    """Return the Tasks under a claim, by the index that begins with the two columns named."""
    return Task.objects.filter(internal__in=(False, True), status=Status.RUNNING)


def _by_queue(lanes: Iterable[Lane]) -> dict[str, list[Lane]]:
    found: dict[str, list[Lane]] = defaultdict(list)
    for lane in lanes:
        found[lane[0]].append(lane)
    return found


def _of_all() -> dict[Any, Any]:
    attempts = Attempt.objects.order_by("-pk")
    return {
        "running": CountOf(running().values("pk")),
        "claimed_last": first(attempts, "task__claimed_at"),
    }
