"""A process that dies at one of its writes."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from typing import Any, TypeVar
from unittest.mock import patch

from django.db import connections

from django_retrytasks import database

T = TypeVar("T")

# The exit code of a process ended by SIGKILL, as a shell tells it.
KILLED = 137
WRITE = re.compile(
    r"\s*(INSERT|UPDATE|DELETE|REPLACE|WITH\b.*\bINSERT)\b", re.IGNORECASE | re.DOTALL
)


@contextmanager
def crash_at(number: int, *, after: bool = False) -> Iterator[None]:
    """End this process, as a kill does, at the ``number``-th write of the body.

    Writes are the statements that insert, update or delete, and each COMMIT, on this thread's
    connection to the Tasks' database. A body with fewer of them just ends: so raise ``number``
    from 1, in one child process after another, until the child survives, and every point at which
    a worker may die has been tried. The exit code is 137; nothing is flushed or cleaned up.

    Args:
        number: which write, from 1.
        after: whether to let that write happen first.

    Raises:
        ValueError: ``number`` is below 1.
    """
    if number < 1:
        raise ValueError(f"crash_at: number must be at least 1, not {number}")
    numbers = count(1)

    def write(act: Callable[[], T]) -> T:
        is_here = next(numbers) == number
        if is_here and not after:
            os._exit(KILLED)
        value = act()
        if is_here:
            os._exit(KILLED)
        return value

    def execute(call: Callable[..., T], sql: str, params: Any, many: bool, context: Any) -> T:
        act = partial(call, sql, params, many, context)
        return write(act) if WRITE.match(sql) else act()

    connection = connections[database.alias()]
    commit = partial(write, connection.commit)
    with connection.execute_wrapper(execute), patch.object(connection, "commit", commit):
        yield
