"""Steps that the verbs share: select rows, store Attempts, show new values on the instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import Model

from django_retrytasks import database
from django_retrytasks.database import DATABASE_NOW, DatabaseNow, reads, writes
from django_retrytasks.database.columns import Row
from django_retrytasks.models import Attempt, Encoded, Status, Task, TaskQuerySet

# So many rows are changed in one transaction.
CHUNK = 1000
DECISION_LIMIT = 255


def by_pk(tasks: Sequence[Task]) -> TaskQuerySet:
    return Task.objects.filter(pk__in=[task.pk for task in tasks])


def lockable() -> TaskQuerySet:
    """Select Tasks for update, skipping locked ones, each with the database's time."""
    now = {DATABASE_NOW: DatabaseNow()}
    return Task.objects.select_for_update(skip_locked=skips_locked()).annotate(**now)


def skips_locked() -> bool:
    return connections[database.alias()].features.has_select_for_update_skip_locked


def held_at(tasks: Sequence[Task], *, locks: bool = False) -> dict[UUID, datetime]:
    """Return the database's time for each Task of one claim that it still holds.

    The ORM would compile the SQL anew for each settle.

    Args:
        locks: whether to lock these Tasks.
    """
    connection: Any = connections[database.alias()]
    is_one, keys = writes.where_key_in(Task, [task.id for task in tasks])
    held = is_held(tasks[0].claim_token)
    can_lock = locks and connection.features.has_select_for_update
    sql = (
        f"SELECT id, {DatabaseNow.sql(connection)} FROM {Task._meta.db_table}"  # noqa: S608
        f" WHERE {is_one} AND {held.sql} {connection.ops.for_update_sql() if can_lock else ''}"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, [*keys, *held.parameters])
        found = cursor.fetchall()
    pk: Any = Task._meta.pk
    ids, moments = reads.converted(found, [pk.cached_col, DatabaseNow()])
    return dict(zip(ids, moments, strict=True))


def is_held(token: UUID | None) -> writes.Condition:
    """Return the condition of `TaskQuerySet.held`."""
    connection: Any = connections[database.alias()]
    table = Task._meta.db_table
    stored = Task._meta.get_field("claim_token").get_db_prep_value(token, connection)
    return writes.Condition(
        f"{table}.claim_token = %s AND {table}.status = %s"
        f" AND {table}.run_after > {DatabaseNow.sql(connection)}",
        [stored, Status.RUNNING.value],
    )


def fields_of(row: Model) -> Row:
    """Return the values of a row's columns, for `writes`; an id to be made is left out."""
    values = vars(row)
    return {name: values[name] for name in _names_of(type(row))}


@cache
def _names_of(model: type[Model]) -> list[str]:
    made: Any = model._meta.auto_field
    return [field.attname for field in model._meta.concrete_fields if field is not made]


def store_attempts(
    rows: Sequence[dict[str, Any]], statements: Sequence[writes.Statement] | None = None
) -> None:
    """Insert Attempts, given by their columns; each gets its ``id`` if the database tells it.

    Args:
        statements: `writes.inserting` of the rows, if it has been called before.
    """
    made = writes.inserting(Attempt, rows) if statements is None else statements
    for row, pk in zip(rows, writes.execute(made).values, strict=False):
        row["id"] = pk


def adopt(tasks: Sequence[Task], values: Mapping[str, Any]) -> None:
    shown = values
    if Encoded in map(type, values.values()):
        shown = {k: v.value if isinstance(v, Encoded) else v for k, v in values.items()}
    for task in tasks:
        if "failure_group_id" in shown:
            task.failure_group_id = shown["failure_group_id"]  # forgets the former group
        vars(task).update(shown)
