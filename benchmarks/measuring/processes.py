"""The processes of a peer: started together, watched, and ended with all that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

TICK = 1_000_000 / os.sysconf("SC_CLK_TCK")


class WorkerEndedError(Exception):
    """A peer's process ended before its work was done."""


class Processes:
    """Running commands, each the leader of a session of its own."""

    def __init__(self, leaders: Sequence[subprocess.Popen[bytes]], log: Path) -> None:
        self._leaders = leaders
        self._log = log

    def check(self, *, has_run: bool = True) -> None:
        """Raise WorkerEndedError, with the end of the log, if a command has ended."""
        if not has_run:
            raise WorkerEndedError(f"nothing ran: {self._tail()}")
        for leader in self._leaders:
            if leader.poll() is not None:
                raise WorkerEndedError(f"exit code {leader.returncode}: {self._tail()}")

    def wait(self) -> None:
        """Wait for commands that end by themselves."""
        for leader in self._leaders:
            if leader.wait():
                raise WorkerEndedError(self._tail())

    def cpu(self) -> float:
        """Return the microseconds for which all these processes have worked so far."""
        sessions = {leader.pid for leader in self._leaders}
        return sum(used for session, used in _processes() if session in sessions)

    def kill(self) -> None:
        for leader in self._leaders:
            if leader.poll() is None:
                os.killpg(leader.pid, signal.SIGKILL)
            leader.wait()

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@contextmanager
def running(
    commands: Sequence[Sequence[str]], environment: Mapping[str, str], log: Path
) -> Iterator[Processes]:
    """Run the commands (a first word "python" is this Python) while the body runs."""
    leaders: list[subprocess.Popen[bytes]] = []
    processes = Processes(leaders, log)
    with log.open("ab") as output:
        try:
            for command in commands:
                leaders.append(_start(command, environment, output.fileno()))
            yield processes
        finally:
            processes.kill()


def _start(
    command: Sequence[str], environment: Mapping[str, str], output: int
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable if word == "python" else word for word in command],
        env=os.environ | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
    )


def _processes() -> Iterator[tuple[int, float]]:
    """Yield each process's session and the microseconds it has used, ended children included."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        yield int(fields[3]), sum(int(ticks) for ticks in fields[11:15]) * TICK


def cpu_of(pid: int) -> float:
    """Return the microseconds that one process has worked; 0 if it is not on this machine."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK
