"""The worker's database sessions: each attempt meets them as the first one did.

A function may leave anything on a connection: a transaction that Django does not know of, another
``search_path``, a closed socket. A connection on which more ran than plain statements is closed
after the attempt, and its successor is made from the settings alone. Whether it did is noted while
it happens and read from the driver, so a Task that behaves costs no query.

Not seen are the effects of server functions (``set_config``, advisory locks), of user variables
within a SELECT, and of what runs through the driver itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

PLAIN: Final = (
    r"SELECT|INSERT|UPDATE|DELETE|WITH|VALUES|MERGE|REPLACE|EXPLAIN|SHOW"
    r"|SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO\s+SAVEPOINT"
)
# After blanks, brackets and comments (MySQL runs what stands in "/*! */"), and alone.
PLAIN_STATEMENT: Final = re.compile(
    rf"""
    (?> \s | \( | --[^\n]*+\n | /\*(?!M?!) (?> .*?\*/ ) )*+
    (?: {PLAIN} ) \b
    [^;]*+ [;\s]*+ \Z
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# Django's own, of an atomic block. Whether one was left open is read from the driver.
SQLITE_BEGIN: Final = re.compile(r"BEGIN(?: IMMEDIATE| EXCLUSIVE| DEFERRED)?\Z")
WATCH: Final = "_retrytasks_watch"


class Watch:
    """Notes, as an execute wrapper of one connection, whether more ran than plain statements."""

    def __init__(self) -> None:
        self.is_plain = True
        self.wrappers: list[Any] = []
        """What wraps the connection's statements while nothing of a function's does."""

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self.is_plain:
            self.is_plain = _is_plain(sql, context["connection"])
        return execute(sql, params, many, context)


def watch() -> None:
    """Watch the connections that are open, and those that are opened from now on.

    For a worker's own process: elsewhere connections are the caller's, and left alone.
    """
    _watch_coming()
    for connection in connections.all(initialized_only=True):
        _begin(connection)
        _note_wrappers(connection)


@cache
def _watch_coming() -> None:
    # Not sooner, so that what a site's own receivers run on each connection is its beginning.
    connection_created.connect(_begin)


def _begin(connection: BaseDatabaseWrapper, **details: Any) -> None:
    if _watch_of(connection) is None:
        setattr(connection, WATCH, Watch())
        _note_wrappers(connection)
    getattr(connection, WATCH).is_plain = True


def _note_wrappers(connection: BaseDatabaseWrapper) -> None:
    # Not at each connecting: a function may have it connect again.
    watch: Watch = getattr(connection, WATCH)
    if not any(each is watch for each in connection.execute_wrappers):
        connection.execute_wrappers.append(watch)
    watch.wrappers = list(connection.execute_wrappers)


def in_transaction() -> set[str]:
    """Return the aliases of the connections in an atomic block."""
    return {c.alias for c in connections.all(initialized_only=True) if c.in_atomic_block}


def tidy(callers: Collection[str], *, interrupted: bool, is_own: bool) -> None:
    """Close connections that foreign code may have left broken, changed, or in a transaction.

    Args:
        callers: aliases of connections to leave alone: they were in a transaction before.
        interrupted: whether the code was interrupted, perhaps in the middle of a query.
        is_own: whether the connections are the worker's, so that none may stay changed.
    """
    for connection in connections.all(initialized_only=True):
        if connection.alias in callers:
            continue
        if connection.in_atomic_block or (is_own and not _is_as_it_began(connection)):
            _replace(connection)
        elif interrupted:
            connection.close()
        elif connection.errors_occurred or not connection.autocommit:
            connection.close_if_unusable_or_obsolete()


@contextmanager
def mending_transactions() -> Iterator[None]:
    """Roll a caller's transaction that an inline attempt broke back to where the attempt began."""
    joined = [c for c in connections.all(initialized_only=True) if c.in_atomic_block]
    marks = [(connection, mark) for connection in joined if (mark := connection.savepoint())]
    try:
        yield
    finally:
        for connection, mark in marks:
            try:
                connection.savepoint_commit(mark)
            except DatabaseError:
                connection.needs_rollback = False
                connection.savepoint_rollback(mark)


def _is_plain(sql: Any, connection: BaseDatabaseWrapper) -> bool:
    if not isinstance(sql, str):
        return False
    if PLAIN_STATEMENT.match(sql):
        return True
    return connection.vendor == "sqlite" and SQLITE_BEGIN.match(sql) is not None


def _is_as_it_began(connection: BaseDatabaseWrapper) -> bool:
    watch = _watch_of(connection)
    wrappers = watch.wrappers if watch else []  # not watched yet: made since, and never opened
    if list(map(id, connection.execute_wrappers)) != list(map(id, wrappers)):
        return False
    if watch is None or connection.connection is None:
        return True
    return watch.is_plain and _is_idle(connection.connection, connection.vendor)


def _watch_of(connection: BaseDatabaseWrapper) -> Watch | None:
    """Return the connection's watch; None where nobody watches it."""
    return getattr(connection, WATCH, None)


def _is_idle(driver: Any, vendor: str) -> bool:
    """Whether the driver's connection is open and in no transaction, as far as it tells."""
    try:
        match vendor:
            case "postgresql":
                return not driver.closed and not driver.info.transaction_status
            case "sqlite":
                return not driver.in_transaction
            case "mysql":
                return bool(driver.open)
    except Exception:
        return False
    return True


def _replace(connection: BaseDatabaseWrapper) -> None:
    """Close a connection, and have Django make another one for its alias."""
    with suppress(Exception):
        connection.close()
    with suppress(AttributeError):
        del connections[connection.alias]
