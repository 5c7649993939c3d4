"""Keep a cluster running: start it again when it ends or freezes.

A django-q2 cluster can freeze with every process alive, for instance when an idle worker is killed
while it holds the queue's lock. So the supervisor watches progress: a cluster is frozen if due
Tasks are not claimed although it has idle workers.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType

from django.conf import ENVIRONMENT_VARIABLE, settings
from django.db import Error, connections

from django_retrytasks import conf, database, health, lifecycle
from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import Task

logger = logging.getLogger("django_retrytasks")

# Times in seconds. Between two checks of the cluster's process.
TICK = 0.2
# Age of a cluster that started well. After an earlier end the pause before the next start grows.
STEADY = 10.0
LONGEST_PAUSE = 60.0
# A slower write was blocked.
AT_ONCE = 1.0

Held = tuple[int, uuid.UUID | None]
"""A worker's process id and the token of its claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The state of one cluster's rows at one moment."""

    lag: float
    """Seconds for which the oldest due Task of its queues has been due; 0 if none is."""
    claims: frozenset[Held]
    """The live claims of its workers."""
    is_writable: bool = True
    """Whether the database accepts a claim's writes without delay."""


class Progress:
    """Judge from looks whether a cluster works; ``now`` is a monotonic clock's seconds."""

    def __init__(self, *, workers: int, max_stall: float, lease: float, now: float) -> None:
        self._workers = workers
        self._max_stall = max_stall
        self._lease = lease
        self._claims: frozenset[Held] = frozenset()
        self._since = self._written_at = now
        self._was_writable = True
        self._has_woken = False

    def note(self, look: Look | None, now: float) -> None:
        """Record a look; None: the database did not answer, which is no stall."""
        if look is None or self._is_at_work(look) or not self._had_a_chance(look, now):
            self._since = now
            self._has_woken = False
        self._claims = look.claims if look else frozenset()
        self._was_writable = look is None or look.is_writable
        if self._was_writable:
            self._written_at = now

    def is_frozen(self, look: Look | None, now: float) -> bool:
        """Whether a Task was due, and the cluster idle, for longer than ``max_stall``."""
        idle = now - self._since
        return look is not None and min(look.lag, idle) > self._max_stall

    def needs_wakeups(self, now: float) -> bool:
        """Whether half of ``max_stall`` is over: True once per stall, as wake-ups may be lost."""
        if self._has_woken or now - self._since <= self._max_stall / 2:
            return False
        self._has_woken = True
        return True

    def _is_at_work(self, look: Look) -> bool:
        has_new_claim = bool(look.claims - self._claims)
        is_full = len({pid for pid, _ in look.claims}) >= self._workers
        return not look.lag or has_new_claim or is_full

    def _had_a_chance(self, look: Look, now: float) -> bool:
        """Whether the database accepted writes since the last look, or refused for over a lease.

        After a lease no worker holds an outcome that can still be settled, and the write lock may
        be held by a frozen worker of this cluster.
        """
        if look.is_writable:
            return self._was_writable
        return now - self._written_at > self._lease


class Cluster:
    """A ``qcluster`` in a session of its own, so that all its processes can be ended."""

    def __init__(self, key: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            _manage("qcluster"),
            env={ENVIRONMENT_VARIABLE: settings.SETTINGS_MODULE, **clusters.environment_of(key)},
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._started = time.monotonic()

    @property
    def age(self) -> float:
        """Return the seconds since its start."""
        return time.monotonic() - self._started

    @property
    def exit_code(self) -> int | None:
        """Return the exit code of its main process; None: it runs.

        The main process ends when its sentinel does.
        """
        return self._process.poll()

    def claims(self) -> frozenset[Held]:
        """Return the live claims of its workers."""
        live = health.running().filter(run_after__gt=DatabaseNow())
        here = live.filter(worker__startswith=f"{socket.gethostname()}:")
        held = here.values_list("worker", "claim_token").distinct()
        pairs = {(int(worker.split(":")[1]), token) for worker, token in held}
        return frozenset(pair for pair in pairs if self._has(pair[0]))

    def end(self, grace: float) -> None:
        """Stop it gracefully within ``grace`` seconds, then kill the remaining processes."""
        if grace and self.exit_code is None:
            # Only the main process: a cluster hangs if its workers get the signal too.
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        self._reap()

    def _reap(self) -> None:
        # Orphans become children of a container's first process, which may be this one.
        with suppress(ChildProcessError):
            while os.waitpid(-self.pid, 0):
                pass

    def _has(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.pid
        except OSError:
            return False


class Supervisor:
    """Keeps one cluster running until a signal stops the process.

    Args:
        key: the cluster's key; one of :func:`django_retrytasks.broker.clusters.keys`.
        max_stall: seconds for which due Tasks may wait while the cluster has idle workers.
        grace: seconds for a cluster to end its running attempts.
    """

    def __init__(self, *, key: str, max_stall: float = 60, grace: float = 60) -> None:
        self._key = key
        self._max_stall = max_stall
        self._grace = grace
        self._is_stopping = False
        self._is_blind = False
        self._pause = 0.0

    def run(self) -> None:
        """Run the cluster until SIGTERM or SIGINT, then stop it gracefully."""
        with self._stopped_by_signals():
            while not self._is_stopping:
                cluster = self._start()
                try:
                    is_frozen = self._watch(cluster)
                except BaseException:
                    cluster.end(self._grace)
                    raise
                self._end(cluster, is_frozen)
                self._rest()

    @contextmanager
    def _stopped_by_signals(self) -> Iterator[None]:
        signals = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self._stop) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _stop(self, signum: int, frame: FrameType | None) -> None:
        self._is_stopping = True

    def _start(self) -> Cluster:
        # Wake-ups that an earlier cluster had received stay hidden for Q_CLUSTER["retry"] seconds.
        self._write_wakeups()
        cluster = Cluster(self._key)
        logger.info("Cluster started: key=%s pid=%s", self._key, cluster.pid)
        return cluster

    def _watch(self, cluster: Cluster) -> bool:
        """Wait until the cluster ends, freezes or should stop; return whether it is frozen."""
        workers, now = clusters.workers_of(self._key), time.monotonic()
        lease = conf.get().lease
        progress = Progress(workers=workers, max_stall=self._max_stall, lease=lease, now=now)
        next_look = now
        while not self._is_stopping and cluster.exit_code is None:
            time.sleep(TICK)
            if time.monotonic() < next_look:
                continue
            look, now = self._look(cluster), time.monotonic()
            progress.note(look, now)
            if progress.is_frozen(look, now):
                return True
            if progress.needs_wakeups(now):
                self._write_wakeups()
            next_look = now + self._max_stall / 20
        return False

    def _look(self, cluster: Cluster) -> Look | None:
        try:
            lag = survey().for_cluster(self._key).lag
            claims = cluster.claims() if lag else frozenset()
        except Error as error:
            self._lose_database(error)
            return None
        is_writable = not lag or self._can_write()
        self._is_blind = self._is_blind and not is_writable
        return Look(lag=lag, claims=claims, is_writable=is_writable)

    def _can_write(self) -> bool:
        """Write where a claim writes, without effect; return whether it succeeded without delay."""
        began = time.monotonic()
        try:
            with writing():
                Task.objects.filter(pk=uuid.uuid4()).update(suspect=True)
                wakeups.delete(wakeups.write(self._key, [wakeups.now()]))
        except Error as error:
            self._lose_database(error)
            return False
        return time.monotonic() - began < AT_ONCE

    def _write_wakeups(self) -> None:
        try:
            lifecycle.wake_for_due(self._key)
        except Error as error:
            self._lose_database(error)

    def _lose_database(self, error: Error) -> None:
        if not self._is_blind:
            logger.warning("Cluster cannot be watched: key=%s error=%s", self._key, error)
        self._is_blind = True
        connections[database.alias()].close()

    def _end(self, cluster: Cluster, is_frozen: bool) -> None:
        """End the cluster: at once if it is frozen and runs no Task, otherwise gracefully."""
        code = cluster.exit_code
        if is_frozen:
            logger.error("Cluster frozen: key=%s pid=%s; it is replaced", self._key, cluster.pid)
            look = self._look(cluster)
            cluster.end(self._grace if look is None or look.claims else 0)
            self._pause = 0
        elif self._is_stopping:
            cluster.end(self._grace)
            logger.info("Cluster stopped: key=%s pid=%s", self._key, cluster.pid)
        else:
            cluster.end(0)
            self._pause = 1 if cluster.age > STEADY else min(2 * self._pause or 1, LONGEST_PAUSE)
            words = "Cluster ended: key=%s pid=%s code=%s; it is started again in %s s"
            logger.error(words, self._key, cluster.pid, code, self._pause)

    def _rest(self) -> None:
        until = time.monotonic() + self._pause
        while not self._is_stopping and time.monotonic() < until:
            time.sleep(TICK)


def _manage(subcommand: str) -> list[str]:
    """Return the command line of another subcommand, started as this process was."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    started = ["-m", spec.parent] if spec and spec.parent else [sys.argv[0]]
    return [sys.executable, *started, subcommand]
