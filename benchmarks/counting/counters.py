"""Counters that another process can read: each process has a file of two numbers."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

FOLDER = "BENCHMARKS_COUNTERS"
COUNTS = struct.Struct("<QQ")


class Counter:
    """Counts statements and commits. A BEGIN counts as neither."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._owner = 0
        self._statements = self._commits = 0

    def statement(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        """Count a statement, and its commit if it writes in a transaction of its own."""
        connection = rest[-1]["connection"]
        alone = connection.autocommit and not connection.in_atomic_block
        self._add(statements=1, commits=int(alone and not sql.lstrip().startswith("SELECT")))
        return execute(sql, *rest)

    def commit(self) -> None:
        self._add(commits=1)

    def _add(self, *, statements: int = 0, commits: int = 0) -> None:
        # A forked process begins at nought, in a file of its own.
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self._statements = self._commits = 0
            path = Path(self._folder) / str(self._owner)
            path.write_bytes(bytes(COUNTS.size))
            with path.open("r+b") as file:
                self._shared = mmap.mmap(file.fileno(), COUNTS.size)
        self._statements += statements
        self._commits += commits
        COUNTS.pack_into(self._shared, 0, self._statements, self._commits)


def totals(folder: Path) -> tuple[int, int]:
    """Return the statements and the commits of all processes."""
    counts = [COUNTS.unpack(path.read_bytes()) for path in folder.iterdir()]
    return sum(one for one, _ in counts), sum(one for _, one in counts)
