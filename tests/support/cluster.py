"""A real cluster in processes of its own, and waiting for what it does."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.models import Task
from tests.support.processes import MARK, children, marked, send, session

T = TypeVar("T")

# What django-q2 logs when a process begins, and the part it then has.
PARTS = {b"ready for work": "worker", b"monitoring": "monitor", b"pushing tasks": "pusher"}
BEGUN = re.compile(rb"(%s) at (\d+)" % b"|".join(PARTS))


def wait_for(condition: Callable[[], T | None], seconds: float = 30) -> T:
    """Return the condition's value as soon as it is true; fail after ``seconds``."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not true within {seconds} s: {condition}")
        time.sleep(0.02)
    return value


def sweep_until(condition: Callable[[], T | None], seconds: float = 30) -> T:
    """Wait for the condition, sweeping as the schedule does, but twice a second."""
    swept = 0.0

    def swept_and_true() -> T | None:
        nonlocal swept
        if time.monotonic() - swept > 0.5:
            lifecycle.sweep()
            swept = time.monotonic()
        return condition()

    return wait_for(swept_and_true, seconds)


def is_idle() -> bool:
    """Whether every Task is finished and no wake-up is to be served now."""
    due = OrmQ.objects.filter(lock__lte=timezone.now())
    return not (Task.objects.unfinished().exists() or due.exists())


class Cluster:
    """A cluster on this run's database, with all processes that it starts.

    Args:
        log: what it prints is added to this file.
        supervisor: options of ``manage.py retrytasks cluster``; None: ``manage.py qcluster``.
        directory: where its source is; None: the current one.
        environment: added to this process's own.
    """

    def __init__(
        self,
        log: Path,
        supervisor: Sequence[str] | None = None,
        *,
        directory: Path | None = None,
        **environment: str,
    ) -> None:
        self.log = log
        self.is_supervised = supervisor is not None
        self._mark = uuid.uuid4().hex
        command = ["qcluster"] if supervisor is None else ["retrytasks", "cluster", *supervisor]
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "django", *command],
                env={**os.environ, **environment, MARK: self._mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=directory,
            )

    @property
    def main(self) -> int | None:
        """Return the id of the main process of its qcluster; None: none runs."""
        if self.is_supervised:
            return next((pid for pid in children(self.process.pid) if session(pid)), None)
        return self.process.pid if self.process.poll() is None else None

    @property
    def sentinel(self) -> int | None:
        """Return the id of its sentinel; None: there is none."""
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


@contextmanager
def starting_cluster(
    log: Path,
    supervisor: Sequence[str] | None = None,
    *,
    directory: Path | None = None,
    **environment: str,
) -> Iterator[Cluster]:
    """Start a cluster, run the body at once, then stop the cluster; see ``Cluster``."""
    cluster = Cluster(log, supervisor, directory=directory, **environment)
    try:
        yield cluster
    finally:
        cluster.end()
        connections.close_all()


@contextmanager
def running_cluster(
    log: Path, supervisor: Sequence[str] | None = None, **environment: str
) -> Iterator[Cluster]:
    """Start a cluster, run the body once it is at work, then stop it; see ``Cluster``."""
    with starting_cluster(log, supervisor, directory=None, **environment) as cluster:
        wait_for(lambda: cluster.having("pusher") or cluster.process.poll() is not None)
        assert cluster.process.poll() is None, log.read_text()
        yield cluster
