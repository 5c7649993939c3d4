"""What a drain costs: CPU of the workers and of PostgreSQL, statements, commits, bytes of WAL."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.counting.counters import totals

from .processes import Processes, cpu_of
from .servers import POSTGRES, postgres

BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
WAL = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What has been used until now."""

    python: float
    backends: dict[int, float] = field(default_factory=dict)
    wal: int = 0
    statements: int = 0
    commits: int = 0


class Meter:
    """Reads what the workers and their database have used. WAL is that of the whole server."""

    def __init__(self, store: str, url: str, counters: Path) -> None:
        self._open = ExitStack()
        self._counters = counters
        self._server: Any = None
        if store == POSTGRES:
            self._server = self._open.enter_context(postgres(url))

    def __enter__(self) -> Meter:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sample(self, processes: Processes) -> Sample:
        statements, commits = totals(self._counters)
        used = {"python": processes.cpu(), "statements": statements, "commits": commits}
        if self._server is None:
            return Sample(**used)
        pids = [pid for (pid,) in self._server.execute(BACKENDS)]
        [(wal,)] = self._server.execute(WAL)
        return Sample(**used, backends={pid: cpu_of(pid) for pid in pids}, wal=int(wal))


def per_run(begun: Sample, ended: Sample, runs: int) -> dict[str, float]:
    """Return the costs of one run: times in microseconds. What was not measured is left out.

    A backend that has ended in between is not counted.
    """
    database = sum(used - begun.backends.get(pid, 0) for pid, used in ended.backends.items())
    spent = {
        "python": ended.python - begun.python,
        "database": database,
        "statements": ended.statements - begun.statements,
        "commits": ended.commits - begun.commits,
        "wal": ended.wal - begun.wal,
    }
    return {name: round(amount / max(1, runs), 3) for name, amount in spent.items() if amount}
