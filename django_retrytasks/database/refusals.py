"""Tell transient errors of a database from permanent ones, by the driver's error code."""

from __future__ import annotations

import sqlite3

from django_retrytasks.errors.causes import linked

# PostgreSQL: transaction rollback, such as a deadlock; insufficient resources; operator
# intervention.
TRANSIENT_CLASSES = ("40", "53", "57")
TRANSIENT_STATES = {
    "25006",  # read-only, such as a standby after a failover
    "55P03",  # lock timeout
    "58030",  # input or output failed
}
# MariaDB and MySQL.
TRANSIENT_NUMBERS = {
    1021,  # the disk is full
    1114,  # the table is full
    1205,  # lock timeout
    1213,  # deadlock
    1290,  # the server is read-only
    1792,  # the transaction is read-only
    1836,  # the server is read-only
}
# SQLite: primary error codes, which are the lowest byte of extended ones.
TRANSIENT_CODES = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}


def has_transient_code(error: BaseException) -> bool:
    """Whether the driver's exception, somewhere in the chain of causes, has a transient code."""
    return any(map(_is_transient, linked(error)))


def is_deadlock(error: BaseException) -> bool:
    """Whether two transactions waited for each other, so that the database has ended this one."""
    return any(_state(each) == "40P01" or _number(each) == 1213 for each in linked(error))


def _is_transient(error: BaseException) -> bool:
    if (state := _state(error)) is not None:
        return state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in TRANSIENT_CODES
    return _number(error) in TRANSIENT_NUMBERS


def _state(error: BaseException) -> str | None:
    """Return PostgreSQL's code, by psycopg's name of it, then by psycopg2's."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state if isinstance(state, str) else None


def _number(error: BaseException) -> int | None:
    """Return the code of MariaDB and MySQL."""
    number = error.args[0] if error.args else None
    return number if isinstance(number, int) else None
