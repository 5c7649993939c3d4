"""Pause and resume a queue or a function."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.conf import settings
from django.db.models import F

from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import PARKED, Pause, Task

from .lanes import NOTHING_PAUSED, paused_now, survey
from .rows import CHUNK


def pause(*, queue_name: str = "", name: str = "", by: str = "", reason: str = "") -> bool:
    """Have the due Tasks of a queue, or of a function, wait uncharged until it is resumed.

    What runs is not interrupted. Workers know within about a slice.

    Args:
        queue_name: the queue; or else
        name: the function's dotted path.
        by: who pauses it.
        reason: why, in words.

    Returns whether it was not paused before.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
    """
    _refuse_both(queue_name, name)
    about = {"paused_at": DatabaseNow(), "paused_by": by, "reason": reason}
    with writing():
        _, is_new = Pause.objects.get_or_create(queue_name=queue_name, name=name, defaults=about)
    return is_new


def resume(*, queue_name: str = "", name: str = "") -> bool:
    """Have a paused queue, or function, go on; return whether it was paused.

    Raises:
        TypeError: both or none of ``queue_name`` and ``name``.
    """
    _refuse_both(queue_name, name)
    with writing():
        row = Pause.objects.filter(queue_name=queue_name, name=name)
        deleted, _ = row.delete()
    while _unpark():
        pass
    for key in set(clusters.keys_for(name for name, _ in survey().oldest).values()):
        wakeups.write(key, [wakeups.now()] * clusters.workers_of(key))
    return bool(deleted)


def park(tasks: Sequence[Task]) -> None:
    """Move waiting Tasks that are paused to where no claim looks, in the caller's transaction."""
    # Locked, so that a resume that this claim does not see yet waits, and finds them parked.
    list(Pause.objects.select_for_update())
    paused = paused_now()
    held = [task.pk for task in tasks if paused.holds(task)]
    Task.objects.filter(pk__in=held).update(run_after=_parked())


def _unpark() -> int:
    """Move some parked Tasks back, but none of paused functions; return how many."""
    rows, lanes = Task.objects.all(), survey(paused=NOTHING_PAUSED).oldest
    parked = rows.of_lanes(lanes).filter(run_after=_parked()).exclude(name__in=paused_now().names)
    with writing():
        found: list[uuid.UUID] = [task.pk for task in parked.select_for_update()[:CHUNK]]
        return int(rows.filter(pk__in=found).update(run_after=F("queued_at")))


def _parked() -> datetime:
    return PARKED if settings.USE_TZ else PARKED.replace(tzinfo=None)


def _refuse_both(queue_name: str, name: str) -> None:
    if bool(queue_name) == bool(name):
        raise TypeError("give queue_name or name, one of the two")
