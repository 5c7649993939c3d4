"""A real qcluster in a process of its own, and waiting for what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from django.db import connections
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.models import Task

T = TypeVar("T")


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


@contextmanager
def running_cluster(log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``manage.py qcluster`` on this run's database until the body ends."""
    command = [sys.executable, "-m", "django", "qcluster"]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        wait_for(lambda: b"pushing tasks" in log.read_bytes() or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        _stop(process)
        connections.close_all()


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(20)
    finally:
        # What the cluster leaves behind when it is not given the time: its own session, no other.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
