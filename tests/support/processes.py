"""Processes of this machine, as /proc shows them."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "RETRYTASKS_TEST_MARK"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process."""

    pid: int
    parent: int
    session: int


def processes() -> list[Process]:
    """Return the processes of this machine that are not dead."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, parent, _, session, *_ = path.read_text().rpartition(")")[2].split()
            if state not in "ZX":
                pid = int(path.parent.name)
                found.append(Process(pid=pid, parent=int(parent), session=int(session)))
    return found


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [one.pid for one in processes() if one.parent == pid]


def session(pid: int) -> list[int]:
    """Return the ids of the processes in this process's session."""
    return [one.pid for one in processes() if one.session == pid]


def marked(mark: str) -> list[int]:
    """Return the ids of the processes that were started with this mark."""
    return [one.pid for one in processes() if f"{MARK}={mark}" in environment(one.pid)]


def environment(pid: int) -> list[str]:
    """Return the variables that a process was started with."""
    try:
        return Path(f"/proc/{pid}/environ").read_text(errors="replace").split("\0")
    except OSError:
        return []


def send(signum: int, *pids: int) -> None:
    """Send a signal to those of these processes that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
