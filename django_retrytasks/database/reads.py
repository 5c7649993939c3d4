"""Read many rows by SQL made by hand, column by column: the ORM converts each row by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

from django.db import connections, models

from .connection import alias

M = TypeVar("M", bound=models.Model)


def rows_of(
    model: type[M], sql: str, parameters: Sequence[Any], annotations: Mapping[str, Any]
) -> list[M]:
    """Return the rows that a query finds, in its order.

    Args:
        sql: a SELECT of `columns_of` the model, then of the annotations.
        annotations: expressions of the further columns, each an attribute of the rows, by name.
    """
    with connections[alias()].cursor() as cursor:
        cursor.execute(sql, parameters)
        found = cursor.fetchall()
    attributes, expressions = _fields_of(model)
    count = len(attributes)
    columns = converted(found, [*expressions, *annotations.values()])
    own, added = columns[:count], dict(zip(annotations, columns[count:], strict=True))
    rows = [model.from_db(alias(), attributes, row) for row in zip(*own, strict=True)]
    for name, column in added.items():
        for row, value in zip(rows, column, strict=True):
            setattr(row, name, value)
    return rows


def columns_of(model: type[models.Model]) -> str:
    """Return SQL of the columns that this release knows: a newer one may have added others."""
    quote, fields = connections[alias()].ops.quote_name, model._meta.concrete_fields
    return ", ".join(quote(str(field.column)) for field in fields)


@cache
def _fields_of(model: Any) -> tuple[Sequence[str], Sequence[Any]]:
    """Return the attnames of a model's fields, and the expressions of their columns."""
    table, fields = model._meta.db_table, model._meta.concrete_fields
    return [field.attname for field in fields], [field.get_col(table) for field in fields]


def converted(found: Sequence[Any], expressions: Sequence[Any]) -> list[Sequence[Any]]:
    """Return the columns of rows that the driver returned, converted as the ORM does.

    Args:
        found: the rows.
        expressions: the expression of each column.
    """
    columns = zip(*found, strict=True) if found else [()] * len(expressions)
    return [_converted(*pair) for pair in zip(columns, expressions, strict=True)]


def _converted(column: Sequence[Any], expression: Any) -> Sequence[Any]:
    connection = connections[alias()]
    converters = connection.ops.get_db_converters(expression)
    converters += expression.get_db_converters(connection)
    if not converters:
        return column
    known: dict[Any, Any] = {}  # a moment that many rows share is made once
    values = []
    for raw in column:
        if raw in known:
            values.append(known[raw])
            continue
        value = raw
        for convert in converters:
            value = convert(value, expression, connection)
        if not isinstance(value, dict | list):
            known[raw] = value
        values.append(value)
    return values
