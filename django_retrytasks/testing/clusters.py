"""Run a real cluster in a test, on the test's database."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

from django.conf import settings
from django.db import connections

from django_retrytasks.broker import clusters, inline
from django_retrytasks.database import alias
from django_retrytasks.models import Task
from django_retrytasks.values.checked import nearest

from .stored import Stored, row_of
from .timelines import timeline

__unittest = True  # unittest leaves the frames of this module out of a failure

# Seconds for a graceful stop.
STOPPING = 20.0
# Seconds between two looks at a Task.
POLL = 0.05
# Bytes of the cluster's output in a message.
LOG_END = 4000


class RunningCluster:
    """A cluster that runs; :func:`running_cluster` starts and stops it."""

    def __init__(self, process: subprocess.Popen[bytes], output: IO[bytes]) -> None:
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        """Return the id of its main process, which is also that of its process group."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Return what the cluster has printed so far."""
        # Not by a seek: the cluster writes at the same position.
        file = self._output.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def wait_for(self, of: Stored, seconds: float = 30) -> Task:
        """Wait until a Task is finished; return its row.

        Args:
            of: the Task's row or result.
            seconds: how long to wait.

        Raises:
            AssertionError: the time is over, or the cluster has ended.
        """
        __tracebackhide__ = True
        until = time.monotonic() + seconds
        while not (task := row_of(of)).is_finished:
            has_ended = self._process.poll() is not None
            if has_ended or time.monotonic() > until:
                why = "its cluster has ended" if has_ended else f"not within {seconds:g} s"
                log = self.log[-LOG_END:]
                raise AssertionError(f"not finished: {why}\n{timeline(task)}\nThe cluster: {log}")
            time.sleep(POLL)
        return task


@contextmanager
def running_cluster(name: str | None = None) -> Iterator[RunningCluster]:
    """Run ``qcluster`` in processes of its own, on this test's databases; stop it at the end.

    For a ``TransactionTestCase`` or pytest's ``transactional_db``: other processes do not see rows
    of a test's transaction. Its mail is kept in its own processes, and its alerts are not sent.
    Settings that the test overrides do not hold there.

    Args:
        name: a cluster of ``ALT_CLUSTERS``; None: the default one.

    Raises:
        AssertionError: the test runs in a transaction, on SQLite in memory or in sync mode, or the
            settings are in no module.
        ValueError: no such cluster.
    """
    __tracebackhide__ = True
    if name not in (None, *clusters.keys()):
        raise ValueError(f"no cluster {name!r}. {nearest(name or '', clusters.keys())}")
    if problem := _problem():
        raise AssertionError(f"a cluster cannot run in this test: {problem}")
    names = {each.alias: str(each.settings_dict["NAME"]) for each in connections.all()}
    environment = {
        **clusters.environment_of(name or clusters.keys()[0]),
        "DJANGO_SETTINGS_MODULE": settings.SETTINGS_MODULE,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "django_retrytasks.testing.cluster_process", json.dumps(names)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield RunningCluster(process, output)
        finally:
            _stop(process)


def _problem() -> str:
    """Return why other processes cannot serve this test, and the fix; "" if they can."""
    connection: Any = connections[alias()]
    if connection.vendor == "sqlite" and connection.is_in_memory_db():
        return (
            f"its SQLite database is in memory. Give it a file: DATABASES[{alias()!r}]"
            '["TEST"] = {"NAME": BASE_DIR / "test.sqlite3"}, or use a server'
        )
    if connection.in_atomic_block:
        return (
            "it runs in a transaction, whose rows other processes do not see. Use "
            "TransactionTestCase, or pytest's transactional_db"
        )
    if inline.is_sync():
        return 'Q_CLUSTER["sync"] is on, so the enqueuing process runs the Tasks. Turn it off'
    if not hasattr(settings, "SETTINGS_MODULE"):
        return "its settings are made by settings.configure(). Put them in a module"
    return ""


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a cluster gracefully, then end what is left of its processes."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOPPING)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
