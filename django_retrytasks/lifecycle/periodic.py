"""Periodic Tasks as rows: declare them, plan their moments, switch them off and on."""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q, QuerySet

from django_retrytasks.broker import inline, wakeups
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, writing
from django_retrytasks.models import Encoded, PeriodicTask, Task, periodic_id
from django_retrytasks.models.periodic import PeriodicTaskQuerySet
from django_retrytasks.values import moments
from django_retrytasks.values.calendars import SECOND, UNREADABLE, Calendar
from django_retrytasks.values.entries import PERIODIC_ENTRY

from .enqueueing import enqueue
from .internal import internal_task

logger = logging.getLogger("django_retrytasks")

# A row that is planned so far ahead dates from before the clock was set back.
SET_BACK = timedelta(hours=1)
SUPERSEDED_KEPT = 50
# A retired row tells workers with older code not to add it again.
RETIRED_KEPT = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """A periodic Task as the code declares it; ``args`` and ``kwargs`` are encoded."""

    name: str
    task_name: str
    calendar: Calendar
    args: Encoded
    kwargs: Encoded

    @property
    def values(self) -> Mapping[str, Any]:
        """Return its values by the fields of its row."""
        return {
            "name": self.name,
            "task_name": self.task_name,
            "cron": self.calendar.cron,
            "every": self.calendar.every,
            "args": self.args,
            "kwargs": self.kwargs,
            "digest": self.digest,
        }

    @property
    def digest(self) -> str:
        """Return a digest of its values."""
        every = self.calendar.every
        values = [self.task_name, self.calendar.cron, every, self.args.text, self.kwargs.text]
        return hashlib.blake2b(json.dumps(values).encode(), digest_size=16).hexdigest()


def declare(
    declared: Iterable[Declaration], *, is_deploy: bool = False, retires_others: bool = False
) -> None:
    """Store what the code of this process declares: add rows, change them, retire others.

    A declaration that has been replaced does not return by itself: a worker with older code has it.

    Args:
        declared: declarations with different names.
        is_deploy: whether this code is the latest, so that such a declaration returns.
        retires_others: whether to retire the rows that are not declared.
    """
    rows = {row.pk: row for row in PeriodicTask.objects.all()}
    for declaration in declared:
        row = rows.pop(periodic_id(declaration.name), None)
        if row is None:
            _add(declaration)
        elif row.digest != declaration.digest and (
            is_deploy or declaration.digest not in row.earlier_digests
        ):
            _replace(row, declaration)
    if retires_others:
        for row in rows.values():
            _retire(row)
        PeriodicTask.objects.filter(retired_at__lt=DatabaseNow() - RETIRED_KEPT).delete()


def _add(declaration: Declaration) -> None:
    now = DatabaseNow()
    row = PeriodicTask(
        pk=periodic_id(declaration.name), declared_at=now, planned_at=now, **declaration.values
    )
    PeriodicTask.objects.bulk_create([row], ignore_conflicts=True)


def _replace(row: PeriodicTask, declaration: Declaration) -> None:
    changes = {**declaration.values, "retired_at": None, "superseded": _superseded(row)}
    if row.retired_at or row.calendar != declaration.calendar:
        changes |= _from_now_on()
    _change(row, changes)


def _retire(row: PeriodicTask) -> None:
    if row.retired_at is None:
        superseded = _superseded(row)
        _change(row, {"digest": "", "superseded": superseded, "retired_at": DatabaseNow()})


def _superseded(row: PeriodicTask) -> list[str]:
    others = [digest for digest in row.earlier_digests if digest != row.digest]
    return [*others, row.digest][-SUPERSEDED_KEPT:] if row.digest else others


def _change(row: PeriodicTask, changes: Mapping[str, Any]) -> None:
    # Unless another process has changed its declaration in between.
    PeriodicTask.objects.filter(pk=row.pk, digest=row.digest).update(**changes)


def _from_now_on() -> dict[str, Any]:
    """Return the changes that leave out earlier moments."""
    return {"declared_at": DatabaseNow(), "planned_at": DatabaseNow()}


def plan() -> None:
    """Enqueue an internal Task for each moment that comes before the next sweeps.

    Of the moments that have passed unplanned, only the latest gets one. A row that cannot be
    planned is logged; the others are planned.
    """
    for row in _timed(PeriodicTask.objects.in_force()):
        try:
            _plan(row, moments.as_instant(getattr(row, DATABASE_NOW)))
        except Exception:
            logger.exception("The periodic task %s could not be planned", row)


def _timed(rows: PeriodicTaskQuerySet) -> QuerySet[PeriodicTask]:
    """Have rows read with the database's time."""
    return rows.annotate(**{DATABASE_NOW: DatabaseNow()})


def _plan(row: PeriodicTask, now: datetime) -> None:
    # Inline, a Task runs at once, whatever its moment.
    until = now if inline.is_sync() else now + wakeups.HORIZON
    planned = moments.as_instant(row.planned_at)
    if planned > until + SET_BACK:
        _change(row, {"planned_at": DatabaseNow(), "last_run_at": None})
    elif coming := list(row.calendar.coming(after=planned, now=now, until=until)):
        _enqueue(row, coming)


def _enqueue(row: PeriodicTask, coming: Sequence[datetime]) -> None:
    """Enqueue the internal Tasks of moments, unless another sweep has planned them."""
    unplanned = PeriodicTask.objects.filter(pk=row.pk, planned_at=row.planned_at)
    with writing():
        if unplanned.update(planned_at=coming[-1]):
            enqueue([_moment_task(row, moment) for moment in coming])


def _moment_task(row: PeriodicTask, moment: datetime) -> Task:
    task = internal_task(PERIODIC_ENTRY, [str(row.pk), moment])
    task.run_after = moments.as_moment(moment)
    return task


def begin(pk: uuid.UUID, moment: datetime) -> PeriodicTask | None:
    """Record that a moment runs, in the caller's transaction; return its row.

    None: the moment has run, is another calendar's, dates from before a switch, or a later moment
    has come. Then nothing is to be enqueued.
    """
    rows = PeriodicTask.objects.in_force().filter(pk=pk)
    row = _timed(rows).first()
    if row is None or moment <= moments.as_instant(row.declared_at):
        return None
    if moment != row.calendar.latest(moments.as_instant(getattr(row, DATABASE_NOW))):
        return None
    is_new = Q(last_run_at=None) | Q(last_run_at__lt=moment)
    return row if rows.filter(is_new).update(last_run_at=moment) else None


def note_task(pk: uuid.UUID, task_id: uuid.UUID | None) -> None:
    """Record the Task that was enqueued last; None: it is stored elsewhere."""
    PeriodicTask.objects.filter(pk=pk).update(last_task=task_id)


def last_moment_but_one(task_name: str) -> datetime | None:
    """Return the last moment but one of a function's periodic Tasks that are in force.

    Of several the latest; None: there is none, or it dates from before the declaration.
    """
    rows = PeriodicTask.objects.in_force().filter(task_name=task_name)
    found = []
    for row in _timed(rows):
        try:
            latest = row.calendar.latest(moments.as_instant(getattr(row, DATABASE_NOW)))
            before = row.calendar.latest(latest - SECOND)
        except UNREADABLE:
            continue
        if before > moments.as_instant(row.declared_at):
            found.append(before)
    return max(found, default=None)


def switch_off(pk: uuid.UUID, *, by: str = "", reason: str = "") -> bool:
    """Let a periodic Task's moments enqueue nothing; return whether it was on."""
    rows = PeriodicTask.objects.filter(pk=pk, switched_off_at=None)
    changes = {"switched_off_at": DatabaseNow(), "switched_off_by": by, "reason": reason}
    return bool(rows.update(**changes))


def switch_on(pk: uuid.UUID) -> bool:
    """Let its moments enqueue again from the next one on; return whether it was off."""
    rows = PeriodicTask.objects.filter(pk=pk, switched_off_at__isnull=False)
    on: dict[str, Any] = {"switched_off_at": None, "switched_off_by": "", "reason": ""}
    return bool(rows.update(**on, **_from_now_on()))
