"""Reading little of large tables: a seek in an index for each thing asked, many in one query."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from django.db.models import IntegerField, QuerySet, Subquery

Key = TypeVar("Key", bound=Hashable)

# PostgreSQL returns at most 1,664 columns.
COLUMNS = 500


class CountOf(Subquery):
    """How many rows a sliced queryset finds, as a value in another query."""

    template = "(SELECT COUNT(*) FROM (%(subquery)s) counted)"
    output_field = IntegerField()


def first(rows: QuerySet[Any], column: str) -> Subquery:
    """Return a column of the first row, as a value in another query; null where there is none."""
    return Subquery(rows.values(column)[:1])


def answers(beside: QuerySet[Any], asked: Mapping[Key, Any]) -> dict[Key, Any]:
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


def distinct(rows: QuerySet[Any], name: str) -> Iterator[Any]:
    """Walk the distinct values of an indexed column by one seek each (a loose index scan).

    Args:
        rows: narrowed by nothing but the columns before it in the index.
        name: the column.
    """
    values = rows.order_by(name).values_list(name, flat=True)
    value = values.first()
    while value is not None:
        yield value
        value = values.filter(**{f"{name}__gt": value}).first()
