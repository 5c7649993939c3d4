"""Statistics of functions: their ended Tasks, failures, attempts and run times, in a window."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, F, Q, Sum

from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import Attempt, Status, Task

ENDED = (Status.SUCCEEDED, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStats:
    """The Tasks of one function that ended in the window: succeeded, or failed for good."""

    name: str
    """Dotted path of the function."""
    task_count: int
    failed_count: int
    run_count: int
    """Attempts of these Tasks, over all drives."""
    p50: float | None
    """Seconds that half of these Tasks' last attempts took at most; None: not known."""
    p95: float | None
    """Seconds that 95 in 100 of these Tasks' last attempts took at most; None: not known."""

    @property
    def failed_share(self) -> float:
        """Return the share of Tasks that failed, from 0 to 1."""
        return self.failed_count / self.task_count

    @property
    def mean_attempts(self) -> float:
        """Return the mean number of attempts of a Task."""
        return self.run_count / self.task_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The functions' statistics; ``since``: the start of the window, later if it was cut."""

    since: datetime
    is_cut: bool
    """Whether more Tasks ended in the window than were read."""
    functions: Sequence[FunctionStats]
    """By name."""


def read(since: datetime, limit: int) -> Statistics:
    """Return the statistics of the Tasks that ended since a moment, without internal ones.

    Every function is counted over the same time. If more than ``limit`` Tasks succeeded, or failed,
    that time is cut to the latest ``limit``, so that the cost is bounded: no more than twice as
    many Tasks are read, by the index of the statuses, and the last attempt of each, by its key.
    """
    start = tallies.latest(limit, since, ENDED)
    window = {"status__in": ENDED, "finished_at__gte": start, "internal__in": (False,)}
    run_times = _run_times(window)
    functions = [
        FunctionStats(
            **row,
            p50=_percentile(run_times[row["name"]], 50),
            p95=_percentile(run_times[row["name"]], 95),
        )
        for row in _counts(window)
    ]
    return Statistics(since=start, is_cut=start > since, functions=functions)


def _counts(window: dict[str, Any]) -> Iterable[dict[str, Any]]:
    by_name: Any = Task.objects.filter(**window).values("name").order_by("name")
    return by_name.annotate(  # type: ignore[no-any-return]
        task_count=Count("pk"),
        failed_count=Count("pk", filter=Q(status=Status.FAILED)),
        run_count=Sum("attempt_count"),
    )


def _run_times(window: dict[str, Any]) -> dict[str, list[float]]:
    """Return the seconds of each Task's last attempt, in order, by function."""
    of_tasks = {f"task__{name}": value for name, value in window.items()}
    last = Attempt.objects.filter(**of_tasks, number=F("task__attempt_count")).order_by()
    by_name: dict[str, list[float]] = defaultdict(list)
    for name, started_at, finished_at in last.values_list(
        "task__name", "started_at", "finished_at"
    ):
        # Negative if the clock was set back.
        by_name[name].append(max(0.0, (finished_at - started_at).total_seconds()))
    for seconds in by_name.values():
        seconds.sort()
    return by_name


def _percentile(ordered: Sequence[float], percent: int) -> float | None:
    """Return the smallest value that so many in 100 do not exceed; None if there is no value."""
    return ordered[math.ceil(len(ordered) * percent / 100) - 1] if ordered else None
