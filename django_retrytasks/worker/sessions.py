"""The worker's database sessions: every attempt starts with clean ones.

A function may leave a connection with a transaction that Django does not know, with another
``search_path`` or with a closed socket. If other than plain statements ran on a connection, it is
closed after the attempt, and a new one is made from the settings. An execute wrapper notes the
statements, and the driver knows the rest, so a clean connection costs no query.

Three kinds of effects go unnoticed: of server functions (``set_config``, advisory locks), of user
variables within a SELECT, and of direct calls of the driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, Final

from django.db import DatabaseError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

PLAIN: Final = (
    r"SELECT|INSERT|UPDATE|DELETE|WITH|VALUES|MERGE|REPLACE|EXPLAIN|SHOW"
    r"|SAVEPOINT|RELEASE\s+SAVEPOINT|ROLLBACK\s+TO\s+SAVEPOINT"
)
# One statement, after blanks, brackets and comments (MySQL executes the text in "/*! */").
PLAIN_STATEMENT: Final = re.compile(
    rf"""
    (?> \s | \( | --[^\n]*+\n | /\*(?!M?!) (?> .*?\*/ ) )*+
    (?: {PLAIN} ) \b
    [^;]*+ [;\s]*+ \Z
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
# Django's statements for an atomic block. The driver knows whether a transaction is left open.
SQLITE_BEGIN: Final = re.compile(r"BEGIN(?: IMMEDIATE| EXCLUSIVE| DEFERRED)?\Z")
WATCH: Final = "_retrytasks_watch"


class Watch:
    """An execute wrapper that notes whether only plain statements ran on its connection."""

    def __init__(self) -> None:
        self.is_plain = True
        self.wrappers: list[Any] = []
        """The connection's execute wrappers before any function ran."""

    def __call__(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any
    ) -> Any:
        if self.is_plain:
            self.is_plain = _is_plain(sql, context["connection"])
        return execute(sql, params, many, context)


def watch() -> None:
    """Watch all open connections, and all that are opened from now on.

    Call it in a worker process only: in others, the connections belong to the caller.
    """
    _watch_coming()
    for connection in connections.all(initialized_only=True):
        _begin(connection)
        _note_wrappers(connection)


@cache
def _watch_coming() -> None:
    # Connected after the site's receivers: their statements on a new connection do not count.
    connection_created.connect(_begin)


def _begin(connection: BaseDatabaseWrapper, **details: Any) -> None:
    if _watch_of(connection) is None:
        setattr(connection, WATCH, Watch())
        _note_wrappers(connection)
    getattr(connection, WATCH).is_plain = True


def _note_wrappers(connection: BaseDatabaseWrapper) -> None:
    # Not at each connect: a function may reconnect.
    watch: Watch = getattr(connection, WATCH)
    if not any(each is watch for each in connection.execute_wrappers):
        # The first: the end of an ``execute_wrapper`` block takes away the last one. The block may
        # have opened this connection.
        connection.execute_wrappers.insert(0, watch)
    watch.wrappers = list(connection.execute_wrappers)


def in_transaction() -> set[str]:
    """Return the aliases of the connections in an atomic block."""
    return {c.alias for c in connections.all(initialized_only=True) if c.in_atomic_block}


def tidy(callers: Collection[str], *, interrupted: bool, is_own: bool) -> None:
    """Close connections that foreign code may have left broken, changed, or in a transaction.

    Args:
        callers: aliases of connections to leave alone, since they were in a transaction before.
        interrupted: whether the code was interrupted, perhaps during a query.
        is_own: whether the connections belong to the worker: then changed ones are closed too.
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


def end() -> None:
    """Close all connections of this thread, which no other code will use again."""
    for connection in connections.all(initialized_only=True):
        with suppress(Exception):
            connection.close()


def mending_transactions(callers: Collection[str]) -> AbstractContextManager[None]:
    """Roll back to the start of an inline attempt if it broke the caller's transaction.

    Args:
        callers: the aliases from :func:`in_transaction`.
    """
    return _mending(callers) if callers else nullcontext()


@contextmanager
def _mending(callers: Collection[str]) -> Iterator[None]:
    joined = [connections[alias] for alias in callers]
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
    wrappers = watch.wrappers if watch else []  # unwatched: it was never opened
    if list(map(id, connection.execute_wrappers)) != list(map(id, wrappers)):
        return False
    if watch is None or connection.connection is None:
        return True
    return watch.is_plain and _is_idle(connection.connection, connection.vendor)


def _watch_of(connection: BaseDatabaseWrapper) -> Watch | None:
    """Return the connection's watch; None if it has none."""
    return getattr(connection, WATCH, None)


def _is_idle(driver: Any, vendor: str) -> bool:
    """Whether the driver's connection is open and in no transaction, as far as is known."""
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
    """Close a connection, and let Django create a new one for its alias."""
    with suppress(Exception):
        connection.close()
    with suppress(AttributeError):
        del connections[connection.alias]
