"""Write many rows by one statement, with SQL made by hand: the ORM compiles it anew for each call.

PostgreSQL gets the values that differ between rows as one array for each column. MariaDB and MySQL
get an insert as a list of rows, and an update as a CASE for each column. SQLite gets one statement
for each row, or a list of rows if the ids are wanted.
"""

# ruff: noqa: S608  # the SQL holds names of tables and columns, and no values

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, repeat
from operator import is_
from typing import Any, NamedTuple, TypeVar

from django.db import connections, models
from django.db.models.constants import OnConflict

from .clock import DatabaseNow
from .connection import alias

T = TypeVar("T")
Row = Mapping[str, Any]
"""Values by attname. A DatabaseNow stands for the database's time."""
Placed = tuple[tuple[str, str], ...]
"""The quoted columns of one row, each with SQL of its value."""

# Types of PostgreSQL whose values need no quotes in an array. Drivers quote each value, slowly.
UNQUOTED = ("uuid", "timestamp with time zone")
# MariaDB refuses a statement above its max_allowed_packet, 16 MiB by default. Quotes may double it.
LARGEST_STATEMENT = 4 * 1024 * 1024


class Described(NamedTuple):
    """A field, as statements need it.

    Attributes:
        name: the quoted name of the column.
        cast: the type, for a cast. It has no length: a cast cuts a longer text, an assignment
            refuses it.
        filled_in: the value that a new row gets without naming the column.
    """

    field: Any
    name: str
    cast: str
    filled_in: Any


class Column(NamedTuple):
    """The values of one field, in the order of the rows.

    Attributes:
        name: the quoted name.
        cast: the type, for a cast.
        values: prepared for the driver; None for the database's time.
        now: SQL of the database's time; "" if no value needs it.
        differs: whether the values differ.
    """

    name: str
    cast: str
    values: Sequence[Any]
    differs: bool
    now: str = ""

    @property
    def is_now(self) -> bool:
        """Whether each value is the database's time."""
        return bool(self.now) and not self.differs

    def sql(self, value: str = "%s") -> str:
        """Return SQL of one row's value.

        Args:
            value: SQL that yields the value of ``values``.
        """
        if self.is_now:
            return self.now
        return f"COALESCE({value}, {self.now})" if self.now else value


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


def insert(
    model: type[models.Model],
    rows: Sequence[Row],
    *,
    ignore_conflicts: bool = False,
    notify: str = "",
) -> list[Any]:
    """Insert rows, which all have the same fields.

    Args:
        ignore_conflicts: whether to skip rows with a stored key.
        notify: a channel of PostgreSQL to notify at the commit; "" for none. It needs a model whose
            keys the database makes.

    Returns:
        The primary keys that the database made, in order; empty where the rows brought their own,
        or where the database does not tell.
    """
    if not rows:
        return []
    connection = connections[alias()]
    columns = _filled(model, rows, connection)
    conflicts = OnConflict.IGNORE if ignore_conflicts else None
    into = _into(model, [c.name for c in columns], connection.ops.insert_statement(conflicts))
    returning = _returning(model, notify, connection)
    suffix = connection.ops.on_conflict_suffix_sql([], conflicts, [], []) + returning
    placeholders = f"({', '.join(column.sql() for column in columns)})"
    differing = [column for column in columns if column.differs]
    if differing and connection.vendor == "postgresql":
        selected = ", ".join(_selected(columns))
        sql = f"{into} SELECT {selected} FROM {_unnested(differing)} {suffix}"
        return _execute(sql, [*_constants(columns), *_arrays(differing)], bool(returning))
    if len(rows) > 1 and _is_too_large(columns):
        some = partial(insert, model, ignore_conflicts=ignore_conflicts)
        return [pk for half in _halves(rows) for pk in some(half)]
    if connection.vendor == "sqlite" and not returning:
        _execute_many(f"{into} VALUES {placeholders} {suffix}", _lines(columns))
        return []
    sql = f"{into} VALUES {', '.join([placeholders] * len(rows))} {suffix}"
    return _execute(sql, [value for line in _lines(columns) for value in line], bool(returning))


def takes_parents() -> bool:
    """Whether the database takes both rows of :func:`insert_with_parent` in one statement."""
    return connections[alias()].vendor == "postgresql"


def insert_with_parent(model: type[models.Model], row: Row, parent: Parent) -> None:
    """Insert a row and its parent by one statement, where :func:`takes_parents`."""
    above, above_values = _placed(parent.model, parent.row)
    columns, values = _placed(model, {**row, parent.link: None})
    link: Any = model._meta.get_field(parent.link)
    sql = _sql_with_parent(parent.model, above, model, columns, link.column, parent.notify)
    _execute(sql, [*above_values, *values])


@cache
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
    if not updates:
        return
    connection = connections[alias()]
    columns = _columns(model, [row for _, row in updates], connection)
    keys = _keys(model, [key for key, _ in updates], connection)
    name, update = keys.name, f"UPDATE {model._meta.db_table}"
    differing = [column for column in columns if column.differs]
    if differing and connection.vendor == "postgresql":
        differing.append(keys)
        changes = _changes(columns, _selected(columns))
        sql = (
            f"{update} old SET {changes} FROM {_unnested(differing)} WHERE old.{name} = new.{name}"
        )
        _execute(sql, [*_constants(columns), *_arrays(differing)])
    elif differing and connection.vendor == "sqlite":
        sql = f"{update} SET {_changes(columns, [c.sql() for c in columns])} WHERE {name} = %s"
        lines = zip(_lines(columns), keys.values, strict=True)
        _execute_many(sql, [[*line, key] for line, key in lines])
    elif len(updates) > 1 and _is_too_large(columns):
        for half in _halves(updates):
            update_each(model, half)
    else:
        cases, parameters = _cases(columns, name, keys.values)
        condition, several = _is_among(keys, connection)
        _execute(f"{update} SET {_changes(columns, cases)} WHERE {condition}", parameters + several)


def where_key_in(model: type[models.Model], keys: Iterable[Any]) -> tuple[str, list[Any]]:
    """Return SQL for the rows with these primary keys, and its parameters."""
    connection = connections[alias()]
    return _is_among(_keys(model, keys, connection), connection)


def _keys(model: type[models.Model], keys: Iterable[Any], connection: Any) -> Column:
    field, name, cast, _ = _described(model, connection)[model._meta.pk.attname]
    values = [field.get_db_prep_value(key, connection) for key in keys]
    return Column(name=name, cast=cast, values=values, differs=True)


def _is_among(keys: Column, connection: Any) -> tuple[str, list[Any]]:
    if connection.vendor == "postgresql":
        return f"{keys.name} = ANY(%s::{keys.cast}[])", _arrays([keys])
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
            parameters += _constants([column])
    return cases, parameters


def _into(model: type[models.Model], names: Iterable[str], verb: str = "INSERT INTO") -> str:
    return f"{verb} {model._meta.db_table} ({', '.join(names)})"


def _halves(rows: Sequence[T]) -> tuple[Sequence[T], Sequence[T]]:
    middle = len(rows) // 2
    return rows[:middle], rows[middle:]


def _is_too_large(columns: Iterable[Column]) -> bool:
    texts = (value for column in columns for value in column.values if isinstance(value, str))
    return sum(map(len, texts)) > LARGEST_STATEMENT


def _placed(model: type[models.Model], row: Row) -> tuple[Placed, list[Any]]:
    """Return the columns of one new row, and the parameters of their values."""
    connection = connections[alias()]
    described, now = _described(model, connection), DatabaseNow.sql(connection)
    placed, values = [], []
    for attname, value in row.items():
        field, name, _, filled_in = described[attname]
        if value is filled_in or value == filled_in:
            continue
        if isinstance(value, DatabaseNow):
            placed.append((name, now))
        else:
            placed.append((name, "%s"))
            values.append(field.get_db_prep_save(value, connection))
    return tuple(placed), values


def _returning(model: type[models.Model], notify: str, connection: Any) -> str:
    """Return SQL that returns the ids the database makes; "" if it makes none, or does not tell."""
    made: Any = model._meta.auto_field
    if not (made and connection.features.can_return_rows_from_bulk_insert):
        return ""
    return f" RETURNING {connection.ops.quote_name(made.column)}{_notifying(notify)}"


def _notifying(channel: str) -> str:
    """Return a column of RETURNING that notifies a channel; its name needs no quotes."""
    return f", pg_notify('{channel}', '')" if channel else ""


def _filled(model: type[models.Model], rows: Sequence[Row], connection: Any) -> list[Column]:
    """Return the columns of new rows that a statement has to name."""
    described = _described(model, connection)
    filled_in = {name: described[name].filled_in for name in rows[0]}
    names = [
        name
        for name, value in filled_in.items()
        if any(row[name] is not value and row[name] != value for row in rows)
    ]
    return _columns(model, [{name: row[name] for name in names} for row in rows], connection)


def _columns(model: type[models.Model], rows: Sequence[Row], connection: Any) -> list[Column]:
    described = _described(model, connection)
    return [
        _column([row[attname] for row in rows], described[attname], connection)
        for attname in rows[0]
    ]


def _described(model: type[models.Model], connection: Any) -> Mapping[str, Described]:
    return _described_for(model, connection.alias, connection.vendor)


@cache
def _described_for(model: type[models.Model], alias: str, vendor: str) -> Mapping[str, Described]:
    """Return the model's fields by attname.

    Args:
        vendor: the kind of database behind the alias, which a test may exchange.
    """
    connection: Any = connections[alias]
    fields: Any = model._meta.concrete_fields
    return {
        field.attname: Described(
            field=field,
            name=connection.ops.quote_name(field.column),
            cast=field.db_type(connection).partition("(")[0],
            filled_in=None if field.db_default is models.NOT_PROVIDED else field.db_default,
        )
        for field in fields
    }


def _column(values: list[Any], described: Described, connection: Any) -> Column:
    field, name, cast, _ = described
    first, now = values[0], ""
    # Identical values are the common case, and cheap to tell.
    is_one = all(map(is_, values, repeat(first)))
    differs = not is_one and any(_differ(first, value) for value in values)
    distinct = values if differs else values[:1]
    if any(isinstance(value, DatabaseNow) for value in distinct):
        now = DatabaseNow.sql(connection)
        if any(value is None for value in distinct):
            raise ValueError(f"{name}: a row has no value, and another one the database's time")
        distinct = [None if isinstance(value, DatabaseNow) else value for value in distinct]
    prepared = [field.get_db_prep_save(value, connection) for value in distinct]
    return Column(name, cast, prepared if differs else prepared * len(values), differs, now)


def _differ(one: Any, other: Any) -> bool:
    """Whether two values must be stored apart.

    ``==`` does not tell for containers, in which True equals 1, nor for moments, whose fold it
    ignores.
    """
    if one is other:
        return False
    folds = getattr(one, "fold", 0), getattr(other, "fold", 0)
    return isinstance(one, dict | list) or one != other or folds[0] != folds[1]


def _selected(columns: Iterable[Column]) -> list[str]:
    """Return SQL of each column's value, given a row of the arrays as ``new``."""
    return [
        column.sql(f"new.{column.name}" if column.differs else f"%s::{column.cast}")
        for column in columns
    ]


def _unnested(differing: Sequence[Column]) -> str:
    arrays = ", ".join(f"%s::{column.cast}[]" for column in differing)
    return f"unnest({arrays}) AS new ({', '.join(column.name for column in differing)})"


def _arrays(differing: Iterable[Column]) -> list[Any]:
    """Return the values of columns as arrays, as text where no value needs quotes."""
    return [
        f"{{{','.join('NULL' if each is None else str(each) for each in column.values)}}}"
        if column.cast in UNQUOTED
        else list(column.values)
        for column in differing
    ]


def _constants(columns: Iterable[Column]) -> list[Any]:
    return [c.values[0] for c in columns if not (c.differs or c.is_now)]


def _lines(columns: Iterable[Column]) -> list[tuple[Any, ...]]:
    return list(zip(*(c.values for c in columns if not c.is_now), strict=True))


def _execute(sql: str, parameters: Sequence[Any], returns: bool = False) -> list[Any]:
    """Execute a statement; return the first column if it returns rows."""
    with connections[alias()].cursor() as cursor:
        cursor.execute(sql, parameters)
        return [row[0] for row in cursor.fetchall()] if returns else []


def _execute_many(sql: str, lines: Sequence[Sequence[Any]]) -> None:
    with connections[alias()].cursor() as cursor:
        cursor.executemany(sql, lines)
