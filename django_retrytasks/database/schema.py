"""Errors of a database without the current migrations, and advice to migrate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, DatabaseError

from django_retrytasks import conf

SQLITE = ("no such table", "no such column", "has no column named")
# An unknown table, an unknown column.
POSTGRESQL = ("42P01", "42703")
MYSQL = (1146, 1054)


def unmigrated() -> str:
    """Return that tables are missing, and the command that makes them."""
    alias = conf.q_cluster().get("orm") or DEFAULT_DB_ALIAS
    other = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    return (
        "The tables of django-retrytasks or django-q2 are missing or out of date. Run manage.py "
        f"migrate{other}."
    )


def lacks_schema(error: BaseException) -> bool:
    """Whether an error says that a table or a column is missing."""
    if not isinstance(error, DatabaseError):
        return False
    state = getattr(error.__cause__, "sqlstate", None) or getattr(error.__cause__, "pgcode", None)
    code = error.args[0] if error.args else None
    return state in POSTGRESQL or code in MYSQL or any(text in str(error) for text in SQLITE)


@contextmanager
def advising_to_migrate() -> Iterator[None]:
    """Add a note to such an error, shown in its traceback: run migrate."""
    try:
        yield
    except DatabaseError as error:
        if lacks_schema(error) and unmigrated() not in getattr(error, "__notes__", ()):
            error.add_note(unmigrated())
        raise
