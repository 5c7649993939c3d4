"""How the work goes: read from the rows alone, at the same cost whatever waits.

Due Tasks are found by seeks in the claim's index, running ones in that of the statuses, and the
latest attempt by its key. Nothing here reads a table through.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max

from . import wakeups
from .lanes import Lane, Paused, all_lanes, paused_now
from .models import Attempt, DatabaseNow, Status, Task, TaskQuerySet

# Due Tasks are counted up to so many in each lane: a count walks the index.
COUNT_LIMIT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueHealth:
    """One queue with unfinished Tasks."""

    queue_name: str
    due_count: int
    """Tasks that might run now; at most 10,000 of each priority are counted."""
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
    by_queue: dict[str, list[Lane]] = defaultdict(list)
    for lane in all_lanes():
        by_queue[lane[0]].append(lane)
    paused = paused_now()
    return Health(
        queues=[_queue_health(name, lanes, paused) for name, lanes in sorted(by_queue.items())],
        paused_names=sorted(paused.names),
        running_count=running().count(),
        last_claim_at=_last_claim_at(),
        swept_at=wakeups.swept_at(),
    )


def lag(among: Iterable[Lane]) -> float:
    """Return for how many seconds the oldest due Task of these lanes has been due.

    0 if none is. Lapsed claims are due since their lease ended.
    """
    return max((_lag_of_lane(lane) for lane in among), default=0.0)


def running() -> TaskQuerySet:
    """Return the Tasks under a claim, by the index that begins with the two columns named."""
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows.filter(internal__in=(False, True), status=Status.RUNNING)


def _queue_health(name: str, lanes: Sequence[Lane], paused: Paused) -> QueueHealth:
    return QueueHealth(
        queue_name=name,
        due_count=sum(_due(lane)[:COUNT_LIMIT].count() for lane in lanes),
        lag=lag(lane for lane in lanes if not paused.skips(lane)),
        is_paused=name in paused.queue_names,
    )


def _lag_of_lane(lane: Lane) -> float:
    oldest = _due(lane).order_by("run_after").values_list("run_after", DatabaseNow()).first()
    return max((oldest[1] - oldest[0]).total_seconds(), 0.0) if oldest else 0.0


def _due(lane: Lane) -> TaskQuerySet:
    rows: TaskQuerySet = Task.objects.using(wakeups.alias())
    return rows.of_lane(*lane).due()


def _last_claim_at() -> datetime | None:
    of_running = running().aggregate(at=Max("claimed_at"))["at"]
    attempts = Attempt.objects.using(wakeups.alias()).order_by("-pk")
    of_latest = attempts.values_list("task__claimed_at", flat=True).first()
    return max((at for at in (of_running, of_latest) if at), default=None)
