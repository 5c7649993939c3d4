"""Steps that the verbs share: select rows, store Attempts, show new values on the instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.db.models import Model

from django_retrytasks.database import writes
from django_retrytasks.models import Attempt, Encoded, Task, TaskQuerySet

# So many rows are changed in one transaction.
CHUNK = 1000


def by_pk(tasks: Sequence[Task]) -> TaskQuerySet:
    return Task.objects.filter(pk__in=[task.pk for task in tasks])


def fields_of(row: Model) -> writes.Row:
    """Return the values of a row's columns, for `writes.insert`; an id to be made is left out."""
    columns = row._meta.concrete_fields
    return {f.attname: getattr(row, f.attname) for f in columns if f is not row._meta.auto_field}


def store_attempts(attempts: Sequence[Attempt]) -> None:
    """Insert Attempts, which get their ids if the database tells them."""
    ids = writes.insert(Attempt, [fields_of(attempt) for attempt in attempts])
    for attempt, pk in zip(attempts, ids, strict=False):
        attempt.pk = pk


def adopt(tasks: Sequence[Task], values: Mapping[str, Any]) -> None:
    for task in tasks:
        for name, value in values.items():
            setattr(task, name, value.value if isinstance(value, Encoded) else value)
