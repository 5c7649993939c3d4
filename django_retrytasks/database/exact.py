"""Compare texts exactly: MariaDB and MySQL ignore case, accents and trailing blanks by default."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import FullResultSet
from django.db.models import F, Q
from django.db.models.lookups import Lookup

# The connection and the column may have different character sets.
BYTES = "CAST(CONVERT({} USING utf8mb4) AS BINARY)"


def exactly(column: str, value: str) -> Q:
    """Return the condition that a column has this very text."""
    # The equality finds the rows by an index; the bytes decide.
    return Q(SameBytes(F(column), (value,)), **{column: value})


def exactly_in(column: str, values: Iterable[str]) -> Q:
    """Return the condition that a column has one of these very texts."""
    texts = tuple(values)
    if not texts:
        return Q(**{f"{column}__in": texts})
    return Q(SameBytes(F(column), texts), **{f"{column}__in": texts})


class SameBytes(Lookup):
    """Whether a text has the bytes of one of others; true on databases that compare exactly."""

    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        raise FullResultSet

    def as_mysql(self, compiler: Any, connection: Any) -> Any:
        column, parameters = self.process_lhs(compiler, connection)
        texts = ", ".join([BYTES.format("%s")] * len(self.rhs))
        return f"{BYTES.format(column)} IN ({texts})", (*parameters, *self.rhs)
