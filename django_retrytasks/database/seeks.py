"""Read few rows of large tables: one index seek for each answer, many seeks in one query."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from itertools import chain, islice
from typing import Any, TypeVar

from django.db import connections
from django.db.models import IntegerField, QuerySet, Subquery

from .clock import DatabaseNow

Key = TypeVar("Key", bound=Hashable)
Parameters = TypeVar("Parameters", bound=tuple[Any, ...])

# PostgreSQL returns at most 1,664 columns.
COLUMNS = 500


class CountOf(Subquery):
    """The row count of a sliced queryset, as a value in another query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def first(rows: QuerySet[Any], column: str) -> Subquery:
    """Return a column of the first row, as a value in another query; null if there is no row."""
    return Subquery(rows.values(column)[:1])


def evaluate(rows: QuerySet[Any], expressions: Mapping[Key, Any]) -> dict[Key, Any]:
    """Evaluate scalar expressions, up to 500 in one query, and return their values by key.

    Args:
        rows: any rows to select from, such as all of a table; if there is none, return {}.
        expressions: expressions such as subqueries, by any key.
    """
    newest = rows.order_by("-pk")
    values: dict[Key, Any] = {}
    keys = iter(expressions)
    while chunk := list(islice(keys, COLUMNS)):
        row = newest.values_list(*(expressions[key] for key in chunk)).first()
        values |= zip(chunk, row, strict=True) if row else {}
    return values


def for_each(
    sql: str, parameters: Iterable[Parameters], using: str
) -> Iterator[tuple[Parameters, Any]]:
    """Run a query with each of many parameters, up to 500 at a time.

    The ORM takes longer to compile hundreds of queries than the database takes to run them, and it
    cannot lock rows in a union.

    Yields each parameters with each value that the query returns for them.
    """
    join = _laterally if connections[using].vendor == "postgresql" else _in_a_union
    remaining = iter(parameters)
    while chunk := list(islice(remaining, COLUMNS)):
        with connections[using].cursor() as cursor:
            cursor.execute(join(sql, len(chunk), len(chunk[0])), list(chain.from_iterable(chunk)))
            yield from [(chunk[n], value) for n, value in cursor.fetchall()]


@cache
def _in_a_union(sql: str, count: int, width: int) -> str:
    each = (f"SELECT {n}, found{n}.* FROM ({sql}) found{n}" for n in range(count))  # noqa: S608
    return " UNION ALL ".join(each)


@cache
def _laterally(sql: str, count: int, width: int) -> str:
    """Return a query that PostgreSQL plans once; it plans each part of a union."""
    names = [f"parameter{n}" for n in range(width)]
    for name in names:
        sql = sql.replace("%s", f"params.{name}", 1)
    rows = ", ".join(f"({n}{', %s' * width})" for n in range(count))
    params = f"(VALUES {rows}) params (n, {', '.join(names)})"
    return f"SELECT params.n, found.* FROM {params} CROSS JOIN LATERAL ({sql}) found"  # noqa: S608


def distinct(rows: QuerySet[Any], name: str, limit: int | None = None) -> list[Any]:
    """Return the distinct values of a column, in order.

    Args:
        rows: all rows of a table.
        name: the first column of an index.
        limit: at most so many values; None: all.
    """
    sql = _loose_scan(rows, (name,)) + (f" LIMIT {limit}" if limit is not None else "")
    return [value for (value,) in _fetched(rows, sql, ())]


def earliest(
    rows: QuerySet[Any], by: tuple[str, ...], moment: str
) -> tuple[dict[tuple[Any, ...], datetime], datetime | None]:
    """Return the earliest moment of each group of rows, by group, and the database's time.

    The time is None if no row has a moment.

    Args:
        rows: all rows of a table; rows without a moment are ignored.
        by: the columns to group by, the first ones of an index.
        moment: the next column of that index.
    """
    connection = connections[rows.db]
    now, params = rows.query.get_compiler(rows.db).compile(DatabaseNow())
    converters = connection.ops.get_db_converters(DatabaseNow())

    def as_datetime(value: Any) -> Any:
        for convert in converters:
            value = convert(value, None, connection)
        return value

    fetched = _fetched(rows, _loose_scan(rows, by, moment, f", {now}"), params)
    # MariaDB's index holds the rows without a moment, too.
    moments = {tuple(group): as_datetime(at) for *group, at, _ in fetched if at is not None}
    return moments, as_datetime(fetched[0][-1]) if fetched else None


def _fetched(rows: QuerySet[Any], sql: str, params: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connections[rows.db].cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def _loose_scan(
    rows: QuerySet[Any], by: tuple[str, ...], moment: str = "", beside: str = ""
) -> str:
    """Return a query for the first row of each group in an index: two seeks for each, no more."""
    build = _grouping if connections[rows.db].vendor == "mysql" else _stepping
    return build(rows.model._meta.db_table, by, moment, beside)


@cache
def _grouping(table: str, by: tuple[str, ...], moment: str, beside: str) -> str:
    """Return a GROUP BY: MariaDB and MySQL read it by seeks, and cannot run `_stepping`."""
    group = ", ".join(by)
    lowest = f", MIN({moment})" if moment else ""
    return f"SELECT {group}{lowest}{beside} FROM {table} GROUP BY {group} ORDER BY {group}"  # noqa: S608


@cache
def _stepping(table: str, by: tuple[str, ...], moment: str, beside: str) -> str:
    """Return a recursive query that steps from the first row of a group to the next group's."""
    columns = (*by, moment) if moment else by
    names = ", ".join(columns)
    # The condition of the partial index.
    rows = f"{table} WHERE {moment} IS NOT NULL" if moment else f"{table} WHERE 1 = 1"
    steps = ", ".join(
        f"(SELECT id FROM {rows} AND {_after(by[:depth])}"  # noqa: S608
        f" ORDER BY {', '.join(columns[depth - 1 :])} LIMIT 1)"
        for depth in range(len(by), 0, -1)
    )
    return (
        f"WITH RECURSIVE found ({names}) AS ("  # noqa: S608
        f"SELECT * FROM (SELECT {names} FROM {rows} ORDER BY {names} LIMIT 1) head"
        f" UNION ALL SELECT {', '.join(f'step.{column}' for column in columns)}"
        f" FROM found CROSS JOIN {table} step WHERE step.id = COALESCE({steps}, NULL)"
        f") SELECT {names}{beside} FROM found"
    )


def _after(by: Sequence[str]) -> str:
    *same, last = by
    return " AND ".join([*(f"{name} = found.{name}" for name in same), f"{last} > found.{last}"])
