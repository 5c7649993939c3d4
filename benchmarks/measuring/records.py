"""The side effects of tasks: each run appends its number and moment to a file of its process.

What ran is read from these files alone. No peer is asked.
"""

from __future__ import annotations

import os
import struct
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

FOLDER = "BENCHMARKS_RECORDS"
RECORD = struct.Struct("<Qd")

# The descriptor of this process's file. A forked process must not write to its parent's.
_owner, _file = 0, -1


def record(number: int) -> None:
    """Note that the task of this number runs now, in a worker process."""
    global _owner, _file
    if _owner != os.getpid():
        path = f"{os.environ[FOLDER]}/{os.getpid()}"
        # The file first: another thread may come in between.
        _file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _owner = os.getpid()
    # This clock is one for all processes, and nobody sets it.
    os.write(_file, RECORD.pack(number, time.monotonic()))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How many runs are missing, and how many are too many."""

    lost: int
    doubled: int


class Records:
    """The records in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def count(self) -> int:
        return sum(entry.stat().st_size for entry in os.scandir(self._folder)) // RECORD.size

    def moments(self) -> list[float]:
        """Return when the runs began, in order, on the clock of ``time.monotonic``."""
        return sorted(moment for _, moment in self._read())

    def verdict(self, count: int, runs: int) -> Verdict:
        """Compare with what should be: numbers 0 to ``count`` less one, so many runs of each."""
        found: Mapping[int, int] = Counter(number for number, _ in self._read())
        expected = dict.fromkeys(range(count), runs)
        every = expected.keys() | found.keys()
        surplus = [found.get(each, 0) - expected.get(each, 0) for each in every]
        return Verdict(
            lost=-sum(each for each in surplus if each < 0),
            doubled=sum(each for each in surplus if each > 0),
        )

    def _read(self) -> list[tuple[int, float]]:
        contents = (path.read_bytes() for path in self._folder.iterdir())
        return [pair for content in contents for pair in RECORD.iter_unpack(content)]
