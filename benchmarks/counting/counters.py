"""Count statements and commits of connections; the counts of all processes can be read."""

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

    def __init__(self) -> None:
        self.statements = self.commits = 0

    def count_on(self, connection: Any) -> None:
        """Count what this connection of Django's does from now on."""
        if self._statement in connection.execute_wrappers:
            return
        connection.execute_wrappers.append(self._statement)
        commit = connection._commit

        def counted() -> None:
            self.add(commits=1)
            commit()

        connection._commit = counted

    def _statement(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        connection = rest[-1]["connection"]
        alone = connection.autocommit and not connection.in_atomic_block
        writes = not sql.lstrip().startswith("SELECT")
        self.add(statements=1, commits=int(alone and writes))
        return execute(sql, *rest)

    def add(self, *, statements: int = 0, commits: int = 0) -> None:
        self.statements += statements
        self.commits += commits


class SharedCounter(Counter):
    """Keeps the counts in a file of its process, where another process can read them."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._owner = 0

    def add(self, *, statements: int = 0, commits: int = 0) -> None:
        # A forked process begins at nought, in a file of its own.
        if self._owner != os.getpid():
            self._owner = os.getpid()
            self.statements = self.commits = 0
            self._shared = _shared(self._folder / str(self._owner))
        super().add(statements=statements, commits=commits)
        COUNTS.pack_into(self._shared, 0, self.statements, self.commits)


def _shared(path: Path) -> mmap.mmap:
    path.write_bytes(bytes(COUNTS.size))
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), COUNTS.size)


def totals(folder: Path) -> tuple[int, int]:
    """Return the statements and the commits of all processes."""
    counts = [COUNTS.unpack(path.read_bytes()) for path in folder.iterdir()]
    return sum(one for one, _ in counts), sum(one for _, one in counts)
