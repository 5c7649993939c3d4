"""Pause and resume a queue or a function."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from django.db.models import F

from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.database import DatabaseNow, exactly, exactly_in, writing
from django_retrytasks.models import NAME_LENGTH, QUEUE_NAME_LENGTH, Pause, Task
from django_retrytasks.values.checked import as_text
from django_retrytasks.values.moments import parked_moment

from . import breakers
from .lanes import NOTHING_PAUSED, Paused, paused_now, survey
from .rows import CHUNK


def pause(*, queue_name: str = "", name: str = "", by: str = "", reason: str = "") -> bool:
    """Make the due Tasks of a queue or a function wait, uncharged, until it is resumed.

    Running Tasks are not interrupted. Workers notice the pause within about a slice.

    Args:
        queue_name: the queue; or
        name: the function's dotted path.
        by: who pauses it.
        reason: why, in words.

    Returns whether it is a new pause.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
        ValueError: one is longer than those of Tasks; or a name that the database takes for this
            one is paused: one of MariaDB or MySQL that differs in letter case, accents or trailing
            blanks only.
    """
    _refuse_both(queue_name, name)
    # SQLite would store a longer one, and no Task could ever have it.
    as_text("queue_name", queue_name, most=QUEUE_NAME_LENGTH)
    as_text("name", name, most=NAME_LENGTH)
    about = {"paused_at": DatabaseNow(), "paused_by": by, "reason": reason}
    with writing():
        row, is_new = Pause.objects.get_or_create(queue_name=queue_name, name=name, defaults=about)
    if (row.queue_name, row.name) != (queue_name, name):
        raise ValueError(
            f"{row} is paused, and this database takes {queue_name or name} for the same name: "
            f"resume {row} first"
        )
    return is_new


def resume(*, queue_name: str = "", name: str = "") -> bool:
    """End the pause of a queue or a function; return whether it was paused.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
    """
    _refuse_both(queue_name, name)
    with writing():
        row = Pause.objects.filter(exactly("queue_name", queue_name), exactly("name", name))
        deleted, _ = row.delete()
    while _unpark():
        pass
    for key in set(clusters.keys_for(name for name, _ in survey().oldest).values()):
        wakeups.write(key, [wakeups.now()] * clusters.workers_of(key))
    return bool(deleted)


def park(tasks: Sequence[Task]) -> Paused:
    """Put the run_after of Tasks that must wait out of every claim's reach.

    In the caller's transaction, by the current pauses and breakers, which are returned.
    """
    # Locked, so that a concurrent resume waits for this transaction, and finds the Tasks parked.
    list(Pause.objects.select_for_update())
    paused = paused_now()
    if paused.breakers:
        paused = replace(paused, breakers=breakers.locked())
    by_moment: dict[datetime, list[uuid.UUID]] = defaultdict(list)
    for task in filter(paused.holds, tasks):
        by_moment[paused.parked_until(task)].append(task.pk)
    for moment, pks in by_moment.items():
        Task.objects.filter(pk__in=pks).update(run_after=moment)
    for row in paused.breakers.values():
        breakers.let_probe_through(row)
    return paused


def _unpark() -> int:
    """Make a chunk of parked Tasks due again, except of paused functions; return how many."""
    rows, lanes = Task.objects.all(), survey(paused=NOTHING_PAUSED).oldest
    # A row written by hand may have been queued for that very moment, and would be found again.
    parked = rows.of_lanes(lanes).filter(run_after=parked_moment(), queued_at__lt=parked_moment())
    parked = parked.exclude(exactly_in("name", paused_now().names))
    with writing():
        pks: list[uuid.UUID] = [task.pk for task in parked.select_for_update()[:CHUNK]]
        return int(rows.filter(pk__in=pks).update(run_after=F("queued_at")))


def _refuse_both(queue_name: str, name: str) -> None:
    if bool(queue_name) == bool(name):
        raise TypeError("give either queue_name or name")
