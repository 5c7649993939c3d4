"""Enqueue and drain tasks that do nothing, on two workers, each peer in turn, and print ratios.

``DATABASE_URL=postgres://… python -m benchmarks.drain [--tasks 3000] [--rounds 3]``
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection
from django_q.models import OrmQ
from django_q.models import Task as QTask
from django_q.tasks import async_task
from django_tasks_db.models import DBTaskResult

from benchmarks import tasks
from django_retrytasks.models import Attempt, FailureGroup, Task

TABLES = (Attempt, Task, FailureGroup, DBTaskResult, OrmQ, QTask)
LIMIT = 600


@dataclass(frozen=True, kw_only=True)
class Peer:
    """How one peer enqueues, what works for it, and when it is done."""

    name: str
    enqueue: Callable[[], object]
    commands: tuple[tuple[str, ...], ...]
    left: Callable[[], int]
    kept: Callable[[], int]


QCLUSTER = (("qcluster",),)
PEERS = (
    Peer(
        name="django-retrytasks",
        enqueue=tasks.nothing.enqueue,
        commands=QCLUSTER,
        left=lambda: Task.objects.unfinished().count(),
        kept=Attempt.objects.count,
    ),
    Peer(
        name="django-tasks-db",
        enqueue=tasks.nothing_for_tasks_db.enqueue,
        commands=(("db_worker", "--backend", "tasks-db", "--no-startup-delay"),) * 2,
        left=lambda: DBTaskResult.objects.exclude(finished_at__isnull=False).count(),
        kept=DBTaskResult.objects.count,
    ),
    Peer(
        name="django-q2",
        enqueue=lambda: async_task(tasks.nothing_for_django_q),
        commands=QCLUSTER,
        left=OrmQ.objects.count,
        kept=QTask.objects.count,
    ),
    Peer(
        name="django-retrytasks, 4 attempts each",
        enqueue=tasks.fails.enqueue,
        commands=QCLUSTER,
        left=lambda: Task.objects.unfinished().filter(internal=False).count(),
        kept=Attempt.objects.filter(task__internal=False).count,
    ),
)


def main() -> None:
    """Measure every peer ``rounds`` times in turn, and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=3000, help="tasks enqueued per round")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of every peer")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    rates: dict[str, list[tuple[float, float]]] = {peer.name: [] for peer in PEERS}
    for number in range(1, options.rounds + 1):
        for peer in PEERS:
            rates[peer.name].append(measure(peer, options.tasks))
            print(f"round {number}: {peer.name}: {shown(rates[peer.name][-1])}", flush=True)
    report({name: medians(measured) for name, measured in rates.items()})


def measure(peer: Peer, count: int) -> tuple[float, float]:
    """Return tasks enqueued and attempts drained per second."""
    empty_tables()
    enqueued_in = timed(lambda: [peer.enqueue() for _ in range(count)])
    with working(peer.commands):
        drained_in = timed(lambda: wait_until_done(peer, count))
    return count / enqueued_in, peer.kept() / drained_in


def empty_tables() -> None:
    for model in TABLES:
        rows = model.objects.all()
        rows._raw_delete(rows.db)


def wait_until_done(peer: Peer, count: int) -> None:
    until = time.monotonic() + LIMIT
    while peer.left() or peer.kept() < count:
        if time.monotonic() > until:
            raise SystemExit(f"{peer.name}: not done within {LIMIT} s")
        time.sleep(0.05)


def timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


@contextmanager
def working(commands: tuple[tuple[str, ...], ...]) -> Iterator[None]:
    """Run these management commands, and end them with whatever they started."""
    processes = [
        subprocess.Popen([sys.executable, "-m", "django", *command], start_new_session=True)
        for command in commands
    ]
    try:
        yield
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        connection.close()


def medians(measured: list[tuple[float, float]]) -> tuple[float, float]:
    enqueued, drained = zip(*measured, strict=True)
    return statistics.median(enqueued), statistics.median(drained)


def shown(rates: tuple[float, float]) -> str:
    return f"{rates[0]:,.0f} enqueued/s, {rates[1]:,.0f} attempts/s"


def report(rates: dict[str, tuple[float, float]]) -> None:
    """Print each peer's medians, and how many times as quick we are."""
    ours = rates[PEERS[0].name]
    print()
    for name, rate in rates.items():
        print(f"{name:34}{shown(rate):44}{ours[0] / rate[0]:6.1f} x {ours[1] / rate[1]:6.1f} x")


if __name__ == "__main__":
    main()
