"""Sweep: write missing wake-ups, prune finished Tasks, and tally ended ones."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from django_retrytasks import conf
from django_retrytasks.broker import clusters, listening, wakeups
from django_retrytasks.database import writing
from django_retrytasks.models import FINAL, Attempt, Status, Task, TaskQuerySet
from django_retrytasks.values import moments

from . import groups, lanes, tallies
from .internal import INTERNAL_RETENTION
from .lanes import Survey
from .rows import CHUNK
from .waking import wake_cluster

# For each cluster, one sweep reads so many coming moments, and writes so many wake-ups.
COMING_READ, COMING_LIMIT = 10_000, 2_400
# Seconds that one wake-up may cover. A cluster that only polls looks no oftener than its poll.
COVERED = 0.05
# Seconds until one prune stops.
PRUNE_SECONDS = 10.0


def sweep() -> None:
    """Write missing wake-ups, prune finished Tasks, and tally ended ones.

    A cluster gets wake-ups for due Tasks (lapsed claims are due), up to one for each worker, and
    for Tasks that become due before the next sweep. Extra wake-ups are harmless, and so are two
    sweeps at once.
    """
    surveyed, now, keys = lanes.survey(), timezone.now(), clusters.keys()
    for key in keys:
        served = surveyed.for_cluster(key)
        if served.due:
            wake_cluster(key, least=0)
        if coming := _coming(served, now, _covered_by_one(key)):
            wakeups.write(key, coming)
    prune()
    tallies.take()


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


def prune() -> int:
    """Delete finished Tasks past their retention, with their Attempts; return how many.

    It deletes in short transactions, for about ten seconds. The next sweep continues.
    """
    until = time.monotonic() + PRUNE_SECONDS
    rows = Task.objects.all()
    old = [rows.finished_before(status, INTERNAL_RETENTION, internal=True) for status in FINAL]
    for status in FINAL:
        kept = conf.get().retention(status)
        if kept is not None:
            old.append(rows.finished_before(status, timedelta(seconds=kept)))
    if (kept := conf.get().retention(Status.FAILED)) is not None:
        groups.prune(timedelta(seconds=kept))
    return sum(_delete_all(tasks, until) for tasks in old)


def _delete_all(tasks: TaskQuerySet, until: float) -> int:
    deleted = count = _delete_chunk(tasks)
    while count == CHUNK and time.monotonic() < until:
        count = _delete_chunk(tasks)
        deleted += count
    return deleted


def _delete_chunk(tasks: TaskQuerySet) -> int:
    # Read first, then locked by key: MariaDB locks every row it walks over, here in the order of
    # another index than a settle's, which would be a deadlock.
    pks = list(tasks.values_list("pk", flat=True)[:CHUNK])
    if not pks:
        return 0
    with writing():
        old = tasks.filter(pk__in=pks).select_for_update().order_by("pk")
        ids = list(old.values_list("pk", flat=True))
        attempts = Attempt.objects.filter(task__in=ids)
        attempts._raw_delete(attempts.db)
        doomed = Task.objects.filter(pk__in=ids)
        doomed._raw_delete(doomed.db)
    return len(ids)
