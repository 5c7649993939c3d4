"""Steps that the verbs share: select rows, store Attempts, show new values on the instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Model

from django_retrytasks import database
from django_retrytasks.database import DatabaseNow, writes
from django_retrytasks.models import Attempt, Encoded, Status, Task, TaskQuerySet

# So many rows are changed in one transaction.
CHUNK = 1000


def by_pk(tasks: Sequence[Task]) -> TaskQuerySet:
    return Task.objects.filter(pk__in=[task.pk for task in tasks])


def lock_held(tasks: Sequence[Task]) -> dict[UUID, datetime]:
    """Lock the Tasks of one claim that it still holds; return the database's time for each.

    The SQL of `TaskQuerySet.held`, made by hand: the ORM compiles it anew for each settle.
    """
    connection: Any = connections[database.alias()]
    pk: Any = Task._meta.pk
    is_one, keys = writes.where_key_in(Task, [task.id for task in tasks])
    token = Task._meta.get_field("claim_token").get_db_prep_value(tasks[0].claim_token, connection)
    now = DatabaseNow.sql(connection)
    locking = connection.ops.for_update_sql() if connection.features.has_select_for_update else ""
    sql = (
        f"SELECT id, {now} FROM {Task._meta.db_table} WHERE {is_one}"  # noqa: S608
        f" AND claim_token = %s AND status = %s AND run_after > {now} {locking}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*keys, token, Status.RUNNING.value])
        found = cursor.fetchall()
    moments = DatabaseNow.read([at for _, at in found], connection)
    return {pk.to_python(key): at for (key, _), at in zip(found, moments, strict=True)}


def fields_of(row: Model) -> writes.Row:
    """Return the values of a row's columns, for `writes.insert`; an id to be made is left out."""
    columns = row._meta.concrete_fields
    return {f.attname: getattr(row, f.attname) for f in columns if f is not row._meta.auto_field}


def store_attempts(rows: Sequence[dict[str, Any]]) -> None:
    """Insert Attempts, given by their columns; each gets its ``id`` if the database tells it."""
    ids = writes.insert(Attempt, rows)
    for row, pk in zip(rows, ids, strict=False):
        row["id"] = pk


def adopt(tasks: Sequence[Task], values: Mapping[str, Any]) -> None:
    for task in tasks:
        for name, value in values.items():
            setattr(task, name, value.value if isinstance(value, Encoded) else value)
