"""Steps that the verbs share: select rows by key, and update many rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from django.db import connections

from django_retrytasks import database
from django_retrytasks.models import Encoded, Task, TaskQuerySet

# So many rows are changed in one transaction.
CHUNK = 1000


def by_pk(tasks: Sequence[Task]) -> TaskQuerySet:
    return Task.objects.filter(pk__in=[task.pk for task in tasks])


def update_each(updates: Sequence[tuple[Task, Mapping[str, Any]]]) -> None:
    """Update each Task with its own values, for the same fields, all in one batch."""
    connection = connections[database.alias()]
    fields: list[Any] = [Task._meta.get_field(name) for name in updates[0][1]]
    columns = ", ".join(f"{connection.ops.quote_name(f.column)} = %s" for f in fields)
    pk: Any = Task._meta.pk
    sql = f"UPDATE {Task._meta.db_table} SET {columns} WHERE {pk.column} = %s"  # noqa: S608

    @cache  # most values of a batch are the same
    def prepared(f: Any, value: Any) -> Any:
        return f.get_db_prep_save(value, connection)

    rows = [
        [
            *(prepared(f, values[f.attname]) for f in fields),
            pk.get_db_prep_save(task.pk, connection),
        ]
        for task, values in updates
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def adopt(tasks: Sequence[Task], values: Mapping[str, Any]) -> None:
    for task in tasks:
        for name, value in values.items():
            setattr(task, name, value.value if isinstance(value, Encoded) else value)
