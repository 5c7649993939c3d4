"""A real qcluster in a process of its own, and waiting for what it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from django.db import connections

T = TypeVar("T")


def wait_for(condition: Callable[[], T], seconds: float = 30) -> T:
    """Return the condition's value as soon as it is true; fail after ``seconds``."""
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise AssertionError(f"not true within {seconds} s: {condition}")
        time.sleep(0.02)
    return value


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
        process.wait(20)
    except subprocess.TimeoutExpired:
        pass
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
