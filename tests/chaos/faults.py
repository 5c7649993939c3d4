"""What can befall clusters, chosen at random."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

from django.db import OperationalError, connection
from django_q.models import OrmQ

from django_retrytasks.models import Status, Task
from tests.support.cluster import Cluster
from tests.support.processes import send, session

# Seconds a worker's claim holds without a heartbeat in such a run.
LEASE = 6.0
# Seconds a process is frozen: for a moment, or until its lease is over.
MOMENT, LONG = 1.0, LEASE + 3

Pids = Sequence[int]


class Faults:
    """Causes faults, and remembers what it did.

    Args:
        chance: what chooses.
        clusters: those that it may break, as they are at the moment.
        restart: shell command that restarts the database and waits for it; None: no such fault.
    """

    def __init__(
        self,
        chance: random.Random,
        clusters: Callable[[], Sequence[Cluster]],
        restart: str | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.frozen: set[int] = set()
        self._chance = chance
        self._clusters = clusters
        self._thaws: list[tuple[float, int]] = []
        self._choices: dict[str, tuple[float, Callable[[], bool]]] = {
            "kill busy worker": (5, lambda: self._signal(self._busy())),
            "kill idle worker": (4, lambda: self._signal(self._idle())),
            "kill pusher": (1, lambda: self._signal(self._having("pusher"))),
            "kill monitor": (1, lambda: self._signal(self._having("monitor"))),
            "kill sentinel": (1, lambda: self._signal(_present(self._cluster().sentinel))),
            "kill main process": (1, lambda: self._signal(_present(self._cluster().main))),
            "kill whole cluster": (1, self._kill_session),
            "terminate worker": (1, lambda: self._signal(self._having("worker"), signal.SIGTERM)),
            "stop cluster": (
                1,
                lambda: self._signal(_present(self._cluster().main), signal.SIGTERM),
            ),
            "stop supervisor": (0.5, self._stop_supervisor),
            "freeze worker for a moment": (2, lambda: self._freeze(self._having("worker"), MOMENT)),
            "freeze busy worker past lease": (2, lambda: self._freeze(self._busy(), LONG)),
            "freeze pusher": (0.5, lambda: self._freeze(self._having("pusher"), LONG)),
            "purge wake-ups": (1, lambda: bool(OrmQ.objects.all().delete()[0])),
            "cut connections": (0.5, _cut_connections),
            "restart database": (0.5 if restart else 0, lambda: _restart(restart)),
        }

    def cause(self) -> None:
        """Cause one, if the clusters offer the occasion for it."""
        weights = [weight for weight, _ in self._choices.values()]
        [name] = self._chance.choices([*self._choices], weights)
        if self._choices[name][1]():
            self.counts[name] += 1

    def thaw(self, until: float) -> None:
        """Let those processes go on whose time of frost is over at this monotonic second."""
        send(signal.SIGCONT, *[pid for at, pid in self._thaws if at <= until])
        self._thaws = [(at, pid) for at, pid in self._thaws if at > until]

    @property
    def is_freezing(self) -> bool:
        """Whether some process is frozen still."""
        return bool(self._thaws)

    def _cluster(self) -> Cluster:
        return self._chance.choice(self._clusters())

    def _having(self, part: str) -> Pids:
        return self._cluster().having(part)

    def _busy(self) -> Pids:
        return sorted(_holders().intersection(self._having("worker")))

    def _idle(self) -> Pids:
        return sorted(set(self._having("worker")) - _holders())

    def _signal(self, among: Pids, signum: int = signal.SIGKILL) -> bool:
        """Send a signal to one of these; return whether there was any."""
        if among:
            send(signum, self._chance.choice(among))
        return bool(among)

    def _kill_session(self) -> bool:
        pids = [pid for main in _present(self._cluster().main) for pid in session(main)]
        send(signal.SIGKILL, *pids)
        return bool(pids)

    def _stop_supervisor(self) -> bool:
        supervised = [one for one in self._clusters() if one.is_supervised]
        return self._signal([one.process.pid for one in supervised], signal.SIGTERM)

    def _freeze(self, among: Pids, seconds: float) -> bool:
        if among:
            pid = self._chance.choice(among)
            send(signal.SIGSTOP, pid)
            self.frozen.add(pid)
            self._thaws.append((time.monotonic() + seconds, pid))
        return bool(among)


def _present(pid: int | None) -> Pids:
    return [pid] if pid else []


def _holders() -> set[int]:
    """Return the ids of the processes that hold Tasks."""
    workers = Task.objects.filter(status=Status.RUNNING).values_list("worker", flat=True)
    return {int(worker.split(":")[1]) for worker in workers}


def _restart(command: str | None) -> bool:
    if command:
        subprocess.run(command, shell=True, check=True, stdout=subprocess.DEVNULL)
        connection.close()
    return bool(command)


def _cut_connections() -> bool:
    """End all other connections to this run's database; SQLite has none to end."""
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        elif connection.vendor == "mysql":
            cursor.execute(
                "SELECT id FROM information_schema.processlist "
                "WHERE db = DATABASE() AND id <> CONNECTION_ID()"
            )
            for (number,) in cursor.fetchall():
                _end_connection(number)
    return connection.vendor != "sqlite"


def _end_connection(number: int) -> None:
    with suppress(OperationalError), connection.cursor() as cursor:
        cursor.execute(f"KILL CONNECTION {number}")
