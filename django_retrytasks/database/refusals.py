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


def _is_transient(error: BaseException) -> bool:
    # psycopg's name, then psycopg2's.
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return state[:2] in TRANSIENT_CLASSES or state in TRANSIENT_STATES
    code = getattr(error, "sqlite_errorcode", None)
    if isinstance(code, int):
        return code & 0xFF in TRANSIENT_CODES
    number = error.args[0] if error.args else None
    return isinstance(number, int) and number in TRANSIENT_NUMBERS
