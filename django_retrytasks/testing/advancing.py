"""Let time pass by moving rows: every moment in them becomes so much earlier.

The database's clock decides what is due, and a test cannot move it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.db import connections
from django.db.models import Case, DateTimeField, F, Model, When

from django_retrytasks import lifecycle
from django_retrytasks.broker import clusters
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, alias, reads, writing
from django_retrytasks.models import OpenBreaker, PeriodicTask, Task, TaskQuerySet
from django_retrytasks.values import moments
from django_retrytasks.values.checked import Duration, as_seconds
from django_retrytasks.values.entries import PERIODIC_ENTRY
from django_retrytasks.values.moments import parked_moment

from .stored import refuse_storeless_site


def advance(seconds: Duration | None = None) -> float:
    """Let time pass for all that is stored, and return the seconds. Nothing runs.

    Moments move, not the clock: due moments, ends of leases, starts, times of attempts, failure
    groups. ``timezone.now()`` stays as it is, and with it the calendar of periodic Tasks: their
    rows and planned moments do not move.

    Args:
        seconds: seconds (int, float) or a timedelta, at most 366 days; None: until the next Task is
            due, or its lease ends.

    Raises:
        AssertionError: without ``seconds``, no Task waits.
        TypeError, ValueError: ``seconds`` is no such duration.
    """
    if seconds is None:
        passed = seconds_to_next()
        if passed is None:
            refuse_storeless_site()
            raise AssertionError("no Task waits: none becomes due, however much time passes")
    else:
        passed = as_seconds("seconds", seconds)
    if passed > 0:
        _move(timedelta(seconds=passed))
        _wake_clusters()
    return passed


def seconds_to_next() -> float | None:
    """Return the seconds until the next Task is due, 0 if one is; None if no Task waits.

    Behind a breaker the next one is due when the next probe is. Tasks of a paused queue or
    function do not count, nor do planned moments of periodic Tasks.
    """
    waiting = _moving(Task.objects.unfinished()).filter(run_after__lt=parked_moment())
    rows = [
        *waiting.order_by("run_after").values_list("run_after", DatabaseNow())[:1],
        *_probes(),
    ]
    waits = [moments.between(now, at).total_seconds() for at, now in rows]
    return max(0.0, min(waits)) if waits else None


def _probes() -> Iterator[tuple[datetime, datetime]]:
    """Yield the moment of the next probe, and now, of each breaker with Tasks behind it."""
    for row in OpenBreaker.objects.annotate(**{DATABASE_NOW: DatabaseNow()}):
        if Task.objects.unfinished().filter(run_after=row.parked_until).exists():
            yield row.next_probe_at, getattr(row, DATABASE_NOW)


def seconds_to(moment: datetime) -> float:
    """Return the seconds from the database's time to a moment; 0 if it has passed.

    Raises:
        ValueError: a naive datetime although ``USE_TZ`` is on.
    """
    connection = connections[alias()]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {DatabaseNow.sql(connection)}", [])
        [[now]] = reads.converted([cursor.fetchone()], [DatabaseNow()])
    return max(0.0, moments.between(now, moment).total_seconds())


def moment_columns() -> Iterator[tuple[type[Model], list[str]]]:
    """Yield the tables of this package, each with its columns of moments, that time moves."""
    for model in apps.get_app_config("retrytasks").get_models():
        columns = [field for field in model._meta.concrete_fields if not field.primary_key]
        names = [field.attname for field in columns if isinstance(field, DateTimeField)]
        if names and model is not PeriodicTask:
            yield model, names


def _move(passed: timedelta) -> None:
    with writing():
        for model, names in moment_columns():
            changes: dict[str, Any] = {name: F(name) - passed for name in names}
            if model is Task:
                # Parked Tasks, of a paused queue or function, stay where they are.
                waits = When(run_after__lt=parked_moment(), then=changes["run_after"])
                stays = F("run_after")
                changes["run_after"] = Case(waits, default=stays, output_field=DateTimeField())
            rows: Any = model._default_manager.all()
            (_moving(rows) if model is Task else rows).update(**changes)


def _moving(tasks: TaskQuerySet) -> TaskQuerySet:
    """Leave out the planned moments of periodic Tasks: each is an argument, by the calendar."""
    return tasks.exclude(name=PERIODIC_ENTRY)


def _wake_clusters() -> None:
    """Have running clusters look for due Tasks; none runs beside a test in a transaction."""
    if not connections[alias()].in_atomic_block:
        for key in clusters.keys():  # noqa: SIM118  # a function
            lifecycle.wake_for_due(key)
