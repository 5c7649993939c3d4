"""What one attempt costs: microseconds of Python and of the database, statements, commits, WAL.

``DATABASE_URL=… python -m benchmarks.costs [--tasks 5000] [--seconds 0.005]`` in a database of its
own. One process enqueues Tasks, one by one and in bulk, and then serves wake-ups until all have
run. The database's time and WAL are known on PostgreSQL only.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection

from benchmarks import tasks
from benchmarks.counting.counters import Counter
from benchmarks.measuring.processes import cpu_of
from django_retrytasks import worker
from django_retrytasks.models import Attempt, FailureGroup, Task

KEY = "benchmarks"
HEADS = ("python us", "db us", "wall us", "statements", "commits", "WAL B")
counter = Counter()
LINE = "{:28}" + "{:>12}" * len(HEADS)


def main() -> None:
    """Measure each step, and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--seconds", type=float, default=0.0, help="for which a Task sleeps")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    clear()
    counter.count_on(connection)
    count = options.tasks
    print(LINE.format("", *HEADS))
    with measured("enqueue, one by one", count // 10):
        for _ in range(count // 10):
            tasks.sleeps.enqueue(options.seconds)
    with measured("enqueue, in bulk", count):
        tasks.sleeps.enqueue_many([(options.seconds,)] * count)
    with measured("attempt", count + count // 10):
        drain()
    assert Attempt.objects.count() == count + count // 10
    clear()
    tasks.fails.enqueue_many([()] * (count // 4))
    with measured("failing attempt", count // 4 * 4):
        drain()
    clear()


def drain() -> None:
    while Task.objects.unfinished().filter(internal=False).exists():
        worker.run(KEY)


def clear() -> None:
    for model in (Attempt, Task, FailureGroup):
        model.objects.all()._raw_delete("default")
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_q_ormq")


@contextmanager
def measured(step: str, count: int) -> Iterator[None]:
    """Print what the body costs for each of ``count`` units."""
    counter.statements = counter.commits = 0
    wal, backend = wal_position(), backend_time()
    began, wall = time.process_time(), time.perf_counter()
    yield
    statements, commits = counter.statements / count, counter.commits / count
    python = (time.process_time() - began) * 1e6 / count
    wall = (time.perf_counter() - wall) * 1e6 / count
    database = (backend_time() - backend) / count
    written = (wal_position() - wal) / count
    figures = (python, database, wall, statements, commits, written)
    print(LINE.format(step, *(f"{each:,.2f}" if each < 10 else f"{each:,.0f}" for each in figures)))


def backend_time() -> float:
    """Return the microseconds that this connection's PostgreSQL process has worked; else 0."""
    if connection.vendor != "postgresql":
        return 0
    connection.ensure_connection()
    return cpu_of(connection.connection.info.backend_pid)


def wal_position() -> int:
    """Return the bytes of WAL written so far; 0 on other databases than PostgreSQL."""
    if connection.vendor != "postgresql":
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')")
        return int(cursor.fetchone()[0])


if __name__ == "__main__":
    main()
