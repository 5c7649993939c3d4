"""Reading little of large tables: a seek in an index for each thing asked, many in one query."""

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
    """How many rows a sliced queryset finds, as a value in another query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def first(rows: QuerySet[Any], column: str) -> Subquery:
    """Return a column of the first row, as a value in another query; null where there is none."""
    return Subquery(rows.values(column)[:1])


def evaluate(beside: QuerySet[Any], asked: Mapping[Key, Any]) -> dict[Key, Any]:
    """Return the values of expressions, evaluated beside the newest row: as few queries as can be.

    Args:
        beside: rows of which there is one; nothing is answered where there is none.
        asked: by any key, expressions such as subqueries.
    """
    newest = beside.order_by("-pk")
    found: dict[Key, Any] = {}
    keys = iter(asked)
    while some := list(islice(keys, COLUMNS)):
        row = newest.values_list(*(asked[key] for key in some)).first()
        found |= zip(some, row, strict=True) if row else {}
    return found


def for_each(sql: str, asked: Iterable[Parameters], using: str) -> Iterator[tuple[Parameters, Any]]:
    """Yield parameters and a value that a query finds with them: as few queries as can be.

    The ORM takes longer to write hundreds of them than they take to run, and locks none in a union.
    """
    join = _laterally if connections[using].vendor == "postgresql" else _in_a_union
    parameters = iter(asked)
    while some := list(islice(parameters, COLUMNS)):
        with connections[using].cursor() as cursor:
            cursor.execute(join(sql, len(some), len(some[0])), list(chain.from_iterable(some)))
            yield from [(some[n], value) for n, value in cursor.fetchall()]


@cache
def _in_a_union(sql: str, count: int, width: int) -> str:
    each = (f"SELECT {n}, found{n}.* FROM ({sql}) found{n}" for n in range(count))  # noqa: S608
    return " UNION ALL ".join(each)


@cache
def _laterally(sql: str, count: int, width: int) -> str:
    """Return what PostgreSQL plans once, where it would plan each part of a union."""
    names = [f"asked{n}" for n in range(width)]
    for name in names:
        sql = sql.replace("%s", f"given.{name}", 1)
    rows = ", ".join(f"({n}{', %s' * width})" for n in range(count))
    given = f"(VALUES {rows}) given (n, {', '.join(names)})"
    return f"SELECT given.n, found.* FROM {given} CROSS JOIN LATERAL ({sql}) found"  # noqa: S608


def distinct(rows: QuerySet[Any], name: str, limit: int | None = None) -> list[Any]:
    """Return the values of a column that an index begins with, each once and in order.

    Args:
        rows: all of a table.
        name: the column.
        limit: how many at most; None: all.
    """
    sql = _loose_scan(rows, (name,)) + (f" LIMIT {limit}" if limit is not None else "")
    return [value for (value,) in _fetched(rows, sql, ())]


def earliest(
    rows: QuerySet[Any], by: tuple[str, ...], moment: str
) -> tuple[dict[tuple[Any, ...], datetime], datetime | None]:
    """Return the earliest moment of each group of rows, by group, and the database's time.

    Args:
        rows: all of a table; those without a moment are left out. Without any, there is no time.
        by: the columns that an index begins with.
        moment: the index's next column.
    """
    connection = connections[rows.db]
    now, params = rows.query.get_compiler(rows.db).compile(DatabaseNow())
    converters = connection.ops.get_db_converters(DatabaseNow())

    def as_datetime(value: Any) -> Any:
        for convert in converters:
            value = convert(value, None, connection)
        return value

    found = _fetched(rows, _loose_scan(rows, by, moment, f", {now}"), params)
    # MariaDB's index holds those without a moment, too.
    moments = {tuple(group): as_datetime(at) for *group, at, _ in found if at is not None}
    return moments, as_datetime(found[0][-1]) if found else None


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
    """Return what MariaDB and MySQL read so by themselves: they cannot seek as below."""
    group = ", ".join(by)
    lowest = f", MIN({moment})" if moment else ""
    return f"SELECT {group}{lowest}{beside} FROM {table} GROUP BY {group} ORDER BY {group}"  # noqa: S608


@cache
def _stepping(table: str, by: tuple[str, ...], moment: str, beside: str) -> str:
    """Return a query that steps from the first row of each group to that of the next."""
    columns = (*by, moment) if moment else by
    names = ", ".join(columns)
    # The condition of the index, where it has one.
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
