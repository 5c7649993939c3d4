"""The processes of clusters as /proc shows them, and the part that each has in its cluster."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MARK = "RETRYTASKS_TEST_MARK"
# What django-q2 logs when a process begins, and the part it then has.
PARTS = {b"ready for work": "worker", b"monitoring": "monitor", b"pushing tasks": "pusher"}
BEGUN = re.compile(rb"(%s) at (\d+)" % b"|".join(PARTS))


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


class Command:
    """A management command in a process of its own, with all that it starts.

    Args:
        arguments: the subcommand and its options.
        log: what it prints is added to this file.
        environment: added to this process's own.
        directory: where its source is; None: the current one.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        log: Path,
        environment: dict[str, str],
        directory: Path | str | None = None,
    ) -> None:
        self.log = log
        self._mark = uuid.uuid4().hex
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", *arguments],
                env={**os.environ, **environment, MARK: self._mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=directory,
            )

    @property
    def main(self) -> int | None:
        """Return the id of the main process of its qcluster; None: none runs."""
        return next((pid for pid in children(self.process.pid) if session(pid)), None)

    @property
    def sentinel(self) -> int | None:
        """Return the id of its cluster's sentinel; None: there is none."""
        return next(iter(children(self.main)), None) if self.main else None

    def having(self, part: str) -> list[int]:
        """Return the ids of its workers, its pusher or its monitor that are alive."""
        parts = {int(pid): PARTS[words] for words, pid in BEGUN.findall(self.log.read_bytes())}
        return [pid for pid in children(self.sentinel or -1) if parts.get(pid) == part]

    def left(self) -> list[int]:
        """Return the ids of all its processes that are alive, orphans included."""
        return marked(self._mark)

    def wait(self, seconds: float) -> bool:
        """Wait for its end; return whether it came in time."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is not None

    def end(self, seconds: float = 20) -> None:
        """Stop it: gracefully, or by force when the time is over."""
        send(signal.SIGTERM, self.process.pid)
        self.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """End all its processes at once."""
        send(signal.SIGKILL, *self.left())
        self.process.wait()


class Supervised(Command):
    """``manage.py retrytasks cluster``."""

    def __init__(
        self, log: Path, *options: str, directory: Path | str | None = None, **environment: str
    ) -> None:
        super().__init__(["retrytasks", "cluster", *options], log, environment, directory)


class Stock(Command):
    """``manage.py qcluster``."""

    def __init__(self, log: Path, **environment: str) -> None:
        super().__init__(["qcluster"], log, environment)

    @property
    def main(self) -> int | None:
        return self.process.pid if self.process.poll() is None else None


@contextmanager
def ended(command: Command) -> Iterator[Command]:
    """Run the body, then stop the command, come what may."""
    try:
        yield command
    finally:
        command.end()
