"""A constraint of each table: it refuses values that Python cannot read.

A value that Python cannot read would stop every worker that meets its row. SQLite stores any value
in any column. PostgreSQL has moments such as ``infinity``, MariaDB and MySQL have the year 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import models
from django.db.models import BaseConstraint

# A zone of the site may add a day to a stored moment, or take one away.
MOMENTS = "{0} >= '1000-01-01 00:00:00{1}' AND {0} < '9999-12-31 00:00:00{1}'"
TEXT = "typeof({0}) IN ('text', 'null')"
INTEGER = "typeof({0}) IN ('integer', 'null')"
BOOLEAN = "{0} IN (0, 1)"
# What SQLite is asked about a column, by the first word of its type. Each is true of NULL.
ON_SQLITE = {
    # Without a modifier, date() takes February 30.
    "datetime": f"date({{0}}, '+0 days') IS substr({{0}}, 1, 10) AND {MOMENTS}",
    "char(32)": "length({0}) = 32 AND {0} NOT GLOB '*[^0-9a-f]*'",
    "varchar": TEXT,
    "text": TEXT,
    "bool": BOOLEAN,
    "integer": f"{INTEGER} AND {{0}} BETWEEN -2147483648 AND 2147483647",
    "smallint": f"{INTEGER} AND {{0}} BETWEEN -32768 AND 32767",
    "bigint": INTEGER,
    "real": "typeof({0}) IN ('real', 'integer', 'null')",
}


class ReadableRows(BaseConstraint):
    """Refuse rows with values that Python cannot read, whoever writes them.

    It covers the columns that the table has when the constraint is added. A migration that adds a
    column removes it and adds it again.
    """

    def __eq__(self, other: object) -> bool:
        """Whether it is the same constraint, for the migrations."""
        return isinstance(other, ReadableRows) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def constraint_sql(self, model: Any, schema_editor: Any) -> str:
        """Return its part of a CREATE TABLE."""
        return ", ".join(
            str(schema_editor._check_sql(name, check))
            for name, check in self._checks(model, schema_editor)
        )

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the statement that adds it to a table; SQLite makes the table anew instead."""
        [(name, check)] = self._checks(model, schema_editor)
        return schema_editor._create_check_sql(model, name, check)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        """Return the statement that takes it from a table."""
        return schema_editor._delete_check_sql(model, self.name)

    def validate(
        self, model: Any, instance: Any, exclude: Any = None, using: str = "default"
    ) -> None:
        """Do nothing: the fields validate their values."""

    def _checks(self, model: Any, schema_editor: Any) -> Iterator[tuple[str, str]]:
        """Yield names and conditions: one for each column of SQLite, or one for all columns.

        SQLite checks an updated row only by the conditions that name an updated column.
        """
        quote, connection = schema_editor.quote_name, schema_editor.connection
        fields = model._meta.local_concrete_fields
        if connection.vendor == "sqlite":
            for field in fields:
                yield f"{self.name}_{field.column}", _on_sqlite(field, connection, quote)
        else:
            conditions = (_elsewhere(field, connection, quote) for field in fields)
            yield self.name, " AND ".join(filter(None, conditions))


def _on_sqlite(field: Any, connection: Any, quote: Any) -> str:
    kind = str(field.db_type(connection))
    word = kind if kind in ON_SQLITE else kind.partition(" ")[0].partition("(")[0]
    return ON_SQLITE[word].format(quote(field.column), "")


def _elsewhere(field: Any, connection: Any, quote: Any) -> str:
    if isinstance(field, models.DateTimeField):
        return MOMENTS.format(
            quote(field.column), "+00" if connection.features.supports_timezones else ""
        )
    # MariaDB and MySQL store a boolean as a small number.
    is_number = isinstance(field, models.BooleanField) and connection.vendor == "mysql"
    return BOOLEAN.format(quote(field.column)) if is_number else ""
