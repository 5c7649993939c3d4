"""Errors of a database in which migrations have not run, and what to say of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError

UNMIGRATED = (
    "The tables of django-retrytasks or django-q2 are not there, or not up to date: run manage.py "
    "migrate."
)
SQLITE = ("no such table", "no such column", "has no column named")
# A table, or a column, that is not there.
POSTGRESQL = ("42P01", "42703")
MYSQL = (1146, 1054)


def lacks_schema(error: BaseException) -> bool:
    """Tell whether an error of the database says that a table, or a column, is not there."""
    if not isinstance(error, DatabaseError):
        return False
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    code = error.args[0] if error.args else None
    return state in POSTGRESQL or code in MYSQL or any(text in str(error) for text in SQLITE)


@contextmanager
def advising_to_migrate() -> Iterator[None]:
    """Add a note to such an error, which its traceback shows: run migrate."""
    try:
        yield
    except DatabaseError as error:
        if lacks_schema(error) and UNMIGRATED not in getattr(error, "__notes__", ()):
            error.add_note(UNMIGRATED)
        raise
