"""The values of a statement that is made by hand, column by column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import repeat
from operator import is_
from typing import Any, NamedTuple

from django.db import connections, models

from .clock import DatabaseNow
from .connection import alias

Row = Mapping[str, Any]
"""Values by attname. A DatabaseNow stands for the database's time, or a time after it."""
Placed = tuple[tuple[str, str], ...]
"""The quoted columns of one row, each with SQL of its value."""

# Types of PostgreSQL whose values need no quotes in an array. Drivers quote each value, slowly.
UNQUOTED = ("uuid", "timestamp with time zone")


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


def placed_in(model: type[models.Model], row: Row) -> tuple[Placed, list[Any]]:
    """Return the columns of one new row, and the parameters of their values."""
    connection = connections[alias()]
    described = described_fields(model, connection)
    placed, values = [], []
    for attname, value in row.items():
        field, name, _, filled_in = described[attname]
        if value is filled_in or value == filled_in:
            continue
        if isinstance(value, DatabaseNow):
            placed.append((name, value.sql_on(connection)))
        elif type(value) is int and isinstance(field, models.IntegerField):
            placed.append((name, str(value)))  # quicker than a parameter
        else:
            placed.append((name, "%s"))
            values.append(field.get_db_prep_save(value, connection))
    return tuple(placed), values


def filled(model: type[models.Model], rows: Sequence[Row], connection: Any) -> list[Column]:
    """Return the columns of new rows that a statement has to name."""
    described = described_fields(model, connection)
    filled_in = {name: described[name].filled_in for name in rows[0]}
    names = [
        name
        for name, value in filled_in.items()
        if any(row[name] is not value and row[name] != value for row in rows)
    ]
    return columns_of(model, [{name: row[name] for name in names} for row in rows], connection)


def columns_of(model: type[models.Model], rows: Sequence[Row], connection: Any) -> list[Column]:
    """Return the columns of rows, which all have the same fields."""
    described = described_fields(model, connection)
    return [
        _column([row[attname] for row in rows], described[attname], connection)
        for attname in rows[0]
    ]


def described_fields(model: type[models.Model], connection: Any) -> Mapping[str, Described]:
    """Return the model's fields by attname."""
    return _described_for(model, connection.alias, connection.vendor)


@cache
def _described_for(model: type[models.Model], alias: str, vendor: str) -> Mapping[str, Described]:
    """Return the fields by attname.

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
    if clocks := [value for value in distinct if isinstance(value, DatabaseNow)]:
        now, ahead = clocks[0].sql_on(connection), clocks[0].ahead
        if None in distinct or any(clock.ahead != ahead for clock in clocks):
            raise ValueError(f"{name}: a row has the database's time, and another row does not")
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


def constants(columns: Iterable[Column]) -> list[Any]:
    """Return the values that all rows share, one for each column."""
    return [c.values[0] for c in columns if not (c.differs or c.is_now)]


def lines(columns: Iterable[Column]) -> list[tuple[Any, ...]]:
    """Return the values row by row."""
    return list(zip(*(c.values for c in columns if not c.is_now), strict=True))


def selected(columns: Iterable[Column]) -> list[str]:
    """Return SQL of each column's value, given a row of the arrays as ``new``."""
    return [
        column.sql(f"new.{column.name}" if column.differs else f"%s::{column.cast}")
        for column in columns
    ]


def unnested(differing: Sequence[Column]) -> str:
    """Return SQL that makes rows, named ``new``, of the arrays."""
    arrays = ", ".join(f"%s::{column.cast}[]" for column in differing)
    return f"unnest({arrays}) AS new ({', '.join(column.name for column in differing)})"


def arrays(differing: Iterable[Column]) -> list[Any]:
    """Return the values of columns as arrays, as text where no value needs quotes."""
    return [
        f"{{{','.join('NULL' if each is None else str(each) for each in column.values)}}}"
        if column.cast in UNQUOTED
        else list(column.values)
        for column in differing
    ]
