"""The alias of the database that holds the rows, and the transaction around every change."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction

from django_retrytasks import conf

from .schema import advising_to_migrate


def alias() -> str:
    """Return the alias of the database that holds the wake-ups and the Tasks."""
    return conf.q_cluster().get("orm") or DEFAULT_DB_ALIAS


@contextmanager
def writing(*, savepoint: bool = False, reads: bool = False) -> Iterator[None]:
    """Open a transaction, or join the caller's; on SQLite take the write lock at once.

    Otherwise a SQLite transaction that reads before it writes fails with "database is locked" if
    another one has written in between, whatever the timeout.

    Args:
        savepoint: whether a failure leaves a caller's transaction as it was, not broken.
        reads: whether the body reads first: then SQLite's lock is taken in a caller's one too.
    """
    connection = connections[alias()]
    joined = connection.in_atomic_block
    with advising_to_migrate(), transaction.atomic(using=alias(), savepoint=savepoint):
        if connection.vendor == "sqlite" and (reads or not joined):
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM retrytasks_task WHERE 0")
        yield
