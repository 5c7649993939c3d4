"""The transaction that every change of the rows is made in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from . import wakeups
from .schema import advising_to_migrate


@contextmanager
def writing() -> Iterator[None]:
    """Open a transaction, or join the caller's, and on SQLite take the write lock at once.

    A SQLite transaction that reads before it writes fails with "database is locked" as soon as
    another has written in between, whatever the timeout.
    """
    connection = connections[wakeups.alias()]
    joined = connection.in_atomic_block
    with advising_to_migrate(), transaction.atomic(using=wakeups.alias(), savepoint=False):
        if connection.vendor == "sqlite" and not joined:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM retrytasks_task WHERE 0")
        yield
