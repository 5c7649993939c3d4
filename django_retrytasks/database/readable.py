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
# What SQLite is asked about a column, by the first word of its type. Each is true of NULL.
ON_SQLITE = {
    "datetime": f"date({{0}}) IS substr({{0}}, 1, 10) AND {MOMENTS}",
    "char(32)": "length({0}) = 32 AND {0} NOT GLOB '*[^0-9a-f]*'",
    "varchar": "typeof({0}) IN ('text', 'null')",
    "text": "typeof({0}) IN ('text', 'null')",
    "bool": "typeof({0}) IN ('integer', 'null')",
    "integer": "typeof({0}) IN ('integer', 'null')",
    "smallint": "typeof({0}) IN ('integer', 'null')",
    "bigint": "typeof({0}) IN ('integer', 'null')",
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
        """Yield names and conditions: one for each column of SQLite, or one for all moments.

        SQLite checks an updated row only by the conditions that name an updated column.
        """
        quote, connection = schema_editor.quote_name, schema_editor.connection
        zone = "+00" if connection.features.supports_timezones else ""
        fields = model._meta.local_concrete_fields
        if connection.vendor == "sqlite":
            for field in fields:
                yield f"{self.name}_{field.column}", _on_sqlite(field, connection, quote)
            return
        moments = (f.column for f in fields if isinstance(f, models.DateTimeField))
        yield self.name, " AND ".join(MOMENTS.format(quote(name), zone) for name in moments)


def _on_sqlite(field: Any, connection: Any, quote: Any) -> str:
    kind = str(field.db_type(connection))
    word = kind if kind in ON_SQLITE else kind.partition(" ")[0].partition("(")[0]
    return ON_SQLITE[word].format(quote(field.column), "")
