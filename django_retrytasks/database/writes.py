"""Write many rows by one statement, with SQL made by hand: the ORM compiles it anew for each call.

PostgreSQL gets the values that differ between rows as one array for each column. MariaDB and MySQL
get an insert as a list of rows, and an update as a CASE for each column. SQLite gets one statement
for each row, or a list of rows if the ids are wanted.
"""

# ruff: noqa: S608  # the SQL holds names of tables and columns, and no values

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.models.constants import OnConflict

from .columns import (
    Column,
    Placed,
    Row,
    arrays,
    columns_of,
    constants,
    described_fields,
    filled,
    lines,
    placed_in,
    selected,
    unnested,
)
from .connection import alias

T = TypeVar("T")
# MariaDB refuses a statement above its max_allowed_packet, 16 MiB by default. Quotes may double it.
LARGEST_STATEMENT = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """A row to insert together with another one.

    Attributes:
        link: attname of the other row's field that gets the id of this one.
        notify: a channel to notify at the commit; "" for none.
    """

    model: type[models.Model]
    row: Row
    link: str
    notify: str = ""


class Condition(NamedTuple):
    """SQL of a condition, and its parameters. Each column stands with the name of its table."""

    sql: str
    parameters: Sequence[Any]


class Statement(NamedTuple):
    """A statement that is ready to be executed.

    Attributes:
        returns: whether it returns a row for each row that it writes.
        is_repeated: whether it is executed once with each of the parameters.
    """

    sql: str
    parameters: Sequence[Any]
    returns: bool = False
    is_repeated: bool = False


class Executed(NamedTuple):
    """An executed statement: how many rows it wrote, and the first column that it returned."""

    written: int
    values: list[Any]


def execute(statements: Iterable[Statement]) -> Executed:
    """Execute statements one after another; return what all of them did."""
    written, values = 0, list[Any]()
    with connections[alias()].cursor() as cursor:
        for sql, parameters, returns, is_repeated in statements:
            (cursor.executemany if is_repeated else cursor.execute)(sql, parameters)
            values += [row[0] for row in cursor.fetchall()] if returns else []
            written += cursor.rowcount
    return Executed(written, values)


def insert(model: type[models.Model], rows: Sequence[Row], *, notify: str = "") -> list[Any]:
    """Insert rows, which all have the same fields.

    Args:
        notify: a channel of PostgreSQL to notify at the commit; "" for none. It needs a model whose
            keys the database makes.

    Returns:
        The primary keys that the database made, in order; empty where the rows brought their own,
        or where the database does not tell.
    """
    return execute(inserting(model, rows, notify=notify)).values


def inserting(
    model: type[models.Model], rows: Sequence[Row], *, notify: str = ""
) -> list[Statement]:
    """Return the statements of :func:`insert`, to be executed later: making them takes time."""
    return _inserting(model, rows, returning=_returning(model, notify, connections[alias()]))


def insert_new(model: type[models.Model], rows: Sequence[Row]) -> int:
    """Insert the rows whose keys are not stored, in their order; return how many.

    MariaDB and MySQL then refuse no value: they cut what is too long, and store NULL for what they
    cannot read. So check the values before.
    """
    return execute(_inserting(model, rows, conflicts=OnConflict.IGNORE)).written


def _inserting(
    model: type[models.Model],
    rows: Sequence[Row],
    *,
    conflicts: OnConflict | None = None,
    returning: str = "",
) -> list[Statement]:
    if not rows:
        return []
    connection = connections[alias()]
    columns = filled(model, rows, connection)
    into = _into(model, [c.name for c in columns], connection.ops.insert_statement(conflicts))
    suffix = connection.ops.on_conflict_suffix_sql([], conflicts, [], []) + returning
    placeholders = f"({', '.join(column.sql() for column in columns)})"
    differing = [column for column in columns if column.differs]
    if differing and connection.vendor == "postgresql":
        sql = f"{into} SELECT {', '.join(selected(columns))} FROM {unnested(differing)} {suffix}"
        return [Statement(sql, [*constants(columns), *arrays(differing)], bool(returning))]
    if len(rows) > 1 and _is_too_large(columns):
        some = partial(_inserting, model, conflicts=conflicts, returning=returning)
        return [statement for half in _halves(rows) for statement in some(half)]
    if connection.vendor == "sqlite" and not returning:
        sql = f"{into} VALUES {placeholders} {suffix}"
        return [Statement(sql, lines(columns), is_repeated=True)]
    sql = f"{into} VALUES {', '.join([placeholders] * len(rows))} {suffix}"
    return [Statement(sql, list(chain.from_iterable(lines(columns))), bool(returning))]


def takes_parents() -> bool:
    """Whether the database takes both rows of :func:`insert_with_parent` in one statement."""
    return connections[alias()].vendor == "postgresql"


def insert_with_parent(
    model: type[models.Model], row: Row, parent: Parent, *, ignore_conflicts: bool = False
) -> int:
    """Insert a row and its parent by one statement, where :func:`takes_parents`.

    Args:
        ignore_conflicts: whether to skip the row, not its parent, if one of its keys is stored.

    Returns:
        1; 0 if the row was skipped.
    """
    above, above_values = placed_in(parent.model, parent.row)
    columns, values = placed_in(model, {**row, parent.link: None})
    link: Any = model._meta.get_field(parent.link)
    sql = _sql_with_parent(parent.model, above, model, columns, link.column, parent.notify)
    suffix = " ON CONFLICT DO NOTHING" if ignore_conflicts else ""
    return execute([Statement(sql + suffix, [*above_values, *values])]).written


@lru_cache(maxsize=256)
def _sql_with_parent(
    parent: type[models.Model],
    above: Placed,
    model: type[models.Model],
    columns: Placed,
    link: str,
    notify: str,
) -> str:
    key = parent._meta.pk.column
    inserted = f"{_sql_of_row(parent, above)} RETURNING {key}{_notifying(notify)}"
    linked = (link, f"(SELECT {key} FROM parent)")
    return f"WITH parent AS ({inserted}) {_sql_of_row(model, (*columns, linked))}"


def _sql_of_row(model: type[models.Model], placed: Placed) -> str:
    names, values = zip(*placed, strict=True)
    return f"{_into(model, names)} VALUES ({', '.join(values)})"


def update_each(model: type[models.Model], updates: Sequence[tuple[Any, Row]]) -> None:
    """Update each row, named by its primary key, with its own values of the same fields."""
    execute(updating(model, updates))


def updating(
    model: type[models.Model], updates: Sequence[tuple[Any, Row]], *, only: Condition | None = None
) -> list[Statement]:
    """Return the statements of :func:`update_each`, to be executed later.

    Args:
        only: what else must hold for a row to be updated.
    """
    if not updates:
        return []
    connection = connections[alias()]
    columns = columns_of(model, [row for _, row in updates], connection)
    keys = _keys(model, [key for key, _ in updates], connection)
    table, name = model._meta.db_table, keys.name
    also = f" AND {only.sql}" if only else ""
    more = only.parameters if only else ()
    differing = [column for column in columns if column.differs]
    if differing and connection.vendor == "postgresql":
        differing.append(keys)
        changes = _changes(columns, selected(columns))
        where = f"FROM {unnested(differing)} WHERE {table}.{name} = new.{name}{also}"
        parameters = [*constants(columns), *arrays(differing), *more]
        return [Statement(f"UPDATE {table} SET {changes} {where}", parameters)]
    if differing and connection.vendor == "sqlite":
        changes = _changes(columns, [column.sql() for column in columns])
        keyed = zip(lines(columns), keys.values, strict=True)
        repeated = [[*line, key, *more] for line, key in keyed]
        sql = f"UPDATE {table} SET {changes} WHERE {name} = %s{also}"
        return [Statement(sql, repeated, is_repeated=True)]
    if len(updates) > 1 and _is_too_large(columns):
        halves = [updating(model, half, only=only) for half in _halves(updates)]
        return list(chain.from_iterable(halves))
    cases, parameters = _cases(columns, name, keys.values)
    condition, several = _is_among(keys, connection)
    sql = f"UPDATE {table} SET {_changes(columns, cases)} WHERE {condition}{also}"
    return [Statement(sql, [*parameters, *several, *more])]


def where_key_in(model: type[models.Model], keys: Iterable[Any]) -> tuple[str, list[Any]]:
    """Return SQL for the rows with these primary keys, and its parameters."""
    connection = connections[alias()]
    return _is_among(_keys(model, keys, connection), connection)


def _keys(model: type[models.Model], keys: Iterable[Any], connection: Any) -> Column:
    field, name, cast, _ = described_fields(model, connection)[model._meta.pk.attname]
    values = [field.get_db_prep_value(key, connection) for key in keys]
    return Column(name=name, cast=cast, values=values, differs=True)


def _is_among(keys: Column, connection: Any) -> tuple[str, list[Any]]:
    if connection.vendor == "postgresql":
        return f"{keys.name} = ANY(%s::{keys.cast}[])", arrays([keys])
    return f"{keys.name} IN ({', '.join(['%s'] * len(keys.values))})", list(keys.values)


def _changes(columns: Iterable[Column], values: Iterable[str]) -> str:
    return ", ".join(f"{c.name} = {value}" for c, value in zip(columns, values, strict=True))


def _cases(columns: Iterable[Column], key: str, keys: Sequence[Any]) -> tuple[list[str], list[Any]]:
    """Return SQL of each column's value by the key, and the parameters."""
    cases: list[str] = []
    parameters: list[Any] = []
    for column in columns:
        if column.differs:
            cases.append(f"CASE {key} {f'WHEN %s THEN {column.sql()} ' * len(keys)}END")
            parameters += chain.from_iterable(zip(keys, column.values, strict=True))
        else:
            cases.append(column.sql())
            parameters += constants([column])
    return cases, parameters


def _into(model: type[models.Model], names: Iterable[str], verb: str = "INSERT INTO") -> str:
    return f"{verb} {model._meta.db_table} ({', '.join(names)})"


def _halves(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _is_too_large(columns: Iterable[Column]) -> bool:
    texts = (value for column in columns for value in column.values if isinstance(value, str))
    return sum(map(len, texts)) > LARGEST_STATEMENT


def _returning(model: type[models.Model], notify: str, connection: Any) -> str:
    """Return SQL that returns the ids the database makes; "" if it makes none, or does not tell."""
    made: Any = model._meta.auto_field
    if not (made and connection.features.can_return_rows_from_bulk_insert):
        return ""
    return f" RETURNING {connection.ops.quote_name(made.column)}{_notifying(notify)}"


def _notifying(channel: str) -> str:
    """Return a column of RETURNING that notifies a channel; its name needs no quotes."""
    return f", pg_notify('{channel}', '')" if channel else ""
