"""Sweep: plan periodic Tasks, write wake-ups, let probes through, prune, tally, forget workers."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_retrytasks.broker import clusters, listening, wakeups
from django_retrytasks.models import Status, Task
from django_retrytasks.values import moments

from . import breakers, lanes, periodic, tallies, workers
from .lanes import Survey
from .pruning import prune
from .waking import wake_cluster

# For each cluster, one sweep reads so many coming moments, and writes so many wake-ups.
COMING_READ, COMING_LIMIT = 10_000, 2_400
# Seconds that one wake-up may cover. A cluster that only polls looks no oftener than its poll.
COVERED = 0.05


def sweep() -> None:
    """Plan periodic Tasks, write wake-ups, let probes through, prune, tally, forget workers.

    A cluster gets wake-ups for due Tasks (lapsed claims are due), up to one for each worker, and
    for Tasks that become due before the next sweep. Extra wake-ups are harmless, and so are two
    sweeps at once. Each step is done even if another one fails.
    """
    with ExitStack() as after:
        for step in reversed(STEPS):
            after.callback(step)


def _write_wake_ups() -> None:
    surveyed, now, keys = lanes.survey(), timezone.now(), clusters.keys()
    for key in keys:
        served = surveyed.for_cluster(key)
        if served.due:
            wake_cluster(key, least=0)
        if coming := _coming(served, now, _covered_by_one(key)):
            wakeups.write(key, coming)


def _covered_by_one(key: str) -> timedelta:
    seconds = clusters.poll_of(key) / 4
    return timedelta(seconds=min(seconds, COVERED) if listening.listens(key) else seconds)


def _coming(served: Survey, now: datetime, step: timedelta) -> list[wakeups.Wake]:
    """Return a wake for each coming moment, one for moments within a step.

    ``now`` is the host's time of the survey.
    """
    if served.at is None:
        return []
    wakes: list[wakeups.Wake] = []
    for run_after in _coming_moments(served, served.at):
        if not wakes or run_after > (wakes[-1].due or run_after):
            at = moments.after(run_after, step)
            wakes.append(wakeups.Wake(moments.after(now, moments.between(served.at, at)), at))
    return wakes[:COMING_LIMIT]


def _coming_moments(served: Survey, start: datetime) -> list[datetime]:
    """Return when Tasks without a wake-up become due, from ``start`` to the horizon."""
    end = moments.after(start, wakeups.HORIZON)
    near = [lane for lane, at in served.oldest.items() if at <= end]
    rows: Any = Task.objects.of_lanes(near).exclude(status=Status.RUNNING)
    coming = rows.filter(wakeup_id=None, run_after__gt=start, run_after__lte=end)
    due_at = coming.order_by("run_after").values_list("run_after", flat=True).distinct()
    return list(due_at[:COMING_READ])


STEPS = (
    periodic.plan,
    _write_wake_ups,
    breakers.let_due_probes_through,
    breakers.free_stranded,
    prune,
    tallies.take,
    workers.forget,
)
