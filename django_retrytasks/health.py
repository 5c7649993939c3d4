"""How the work goes: read from the rows alone, at the same cost whatever waits.

A check takes a query for each queue, one for each priority there is, and some six more.

Due Tasks are found by seeks in the claim's index, running ones in that of the statuses, and the
latest attempt by its key. Nothing here reads a table through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Max, Subquery

from . import moments, wakeups
from .lanes import Lane, all_lanes, paused_now
from .models import Attempt, DatabaseNow, Status, Task, TaskQuerySet
from .seeks import CountOf, answers, first

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

    @property
    def lag(self) -> float:
        """Return the seconds for which the oldest due Task has been due; 0 if none is."""
        return max((queue.lag for queue in self.queues), default=0.0)


def check() -> Health:
    """Look at the work of all clusters."""
    lanes, paused = all_lanes(), paused_now()
    by_queue = _by_queue(lanes)
    going = [lane for lane in lanes if not paused.skips(lane)]
    asked = {**_of_all(), **_oldest(going)}
    asked |= {(name, None): _due_count(name, of_queue) for name, of_queue in by_queue.items()}
    found = answers(_tasks(), asked)
    lags = _lags(going, found)
    queues = [
        QueueHealth(
            queue_name=name,
            due_count=found.get((name, None), 0),
            lag=max((lags.get(lane, 0.0) for lane in of_queue), default=0.0),
            is_paused=name in paused.queue_names,
        )
        for name, of_queue in by_queue.items()
    ]
    claims = (running().aggregate(at=Max("claimed_at"))["at"], found.get("claimed_last"))
    return Health(
        queues=queues,
        paused_names=sorted(paused.names),
        running_count=found.get("running", 0),
        last_claim_at=max((at for at in claims if at), default=None),
        swept_at=wakeups.swept_at(),
    )


def lag(among: Iterable[Lane]) -> float:
    """Return for how many seconds the oldest due Task of these lanes has been due.

    0 if none is. Lapsed claims are due since their lease ended.
    """
    oldest = _oldest(among)
    found = answers(_tasks(), {"now": DatabaseNow(), **oldest}) if oldest else {}
    return max(_lags(oldest, found).values(), default=0.0)


def running() -> TaskQuerySet:
    """Return the Tasks under a claim, by the index that begins with the two columns named."""
    return _tasks().filter(internal__in=(False, True), status=Status.RUNNING)


def _by_queue(lanes: Iterable[Lane]) -> dict[str, list[Lane]]:
    found: dict[str, list[Lane]] = defaultdict(list)
    for lane in lanes:
        found[lane[0]].append(lane)
    return found


# ---- what is asked for at once, by any key: a lane's oldest due Task by the lane


def _of_all() -> dict[Any, Any]:
    attempts = Attempt.objects.using(wakeups.alias()).order_by("-pk")
    return {
        "now": DatabaseNow(),
        "running": CountOf(running().values("pk")),
        "claimed_last": first(attempts, "task__claimed_at"),
    }


def _oldest(among: Iterable[Lane]) -> dict[Lane, Subquery]:
    due = {lane: _tasks().of_lane(*lane).due() for lane in among}
    return {lane: first(rows.order_by("run_after"), "run_after") for lane, rows in due.items()}


def _due_count(queue_name: str, lanes: Iterable[Lane]) -> CountOf:
    # By its priorities, so that the claim's index leads to the due ones of each.
    priorities = [priority for _, priority in lanes]
    due = _tasks().due().filter(queue_name=queue_name, priority__in=priorities)
    return CountOf(due.values("pk")[:COUNT_LIMIT])


def _lags(lanes: Iterable[Lane], found: Mapping[Any, Any]) -> dict[Lane, float]:
    """Return for how many seconds the oldest due Task of each lane has been due, if one is."""
    oldest = {lane: at for lane in lanes if (at := found.get(lane))}
    waits = {lane: moments.between(at, found["now"]) for lane, at in oldest.items()}
    return {lane: max(0.0, wait.total_seconds()) for lane, wait in waits.items()}


def _tasks() -> TaskQuerySet:
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows
