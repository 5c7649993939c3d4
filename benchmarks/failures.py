"""Fail Tasks in several processes, of one cause and of one each: what does sharing a row cost?

``DATABASE_URL=postgres://… python -m benchmarks.failures [--tasks 300] [--processes 8]``

A batch of one is the worst case: every failure is a transaction of its own that updates the row of
its group. A batch of fifty updates it once.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Sequence
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from benchmarks import tasks
from benchmarks.drain import empty_tables
from django_retrytasks import lifecycle
from django_retrytasks.models import FailureGroup
from django_retrytasks.worker.attempt import AttemptRun

BATCHES = (1, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=300, help="failures of each process")
    parser.add_argument("--processes", type=int, default=8, help="workers, 16 at most")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    one, each = [0] * options.processes, list(range(options.processes))
    for batch in BATCHES:
        rates: dict[str, list[float]] = {"one cause": [], "one each": []}
        for _ in range(options.rounds):
            for name, causes in (("one cause", one), ("one each", each)):
                rates[name].append(measure(causes, options.tasks, batch))
        shared, apart = (statistics.median(found) for found in rates.values())
        print(
            f"batches of {batch:2}: one cause {shared:7,.0f} failures/s, one each {apart:7,.0f}, "
            f"ratio {shared / apart:.2f}",
            flush=True,
        )


def measure(causes: Sequence[int], count: int, batch: int) -> float:
    """Return failures settled per second, all processes together."""
    empty_tables()
    for number, cause in enumerate(causes):
        tasks.fails_of.using(queue_name=f"q{number}").enqueue_many([(cause,)] * count)
    connections.close_all()
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(len(causes) + 1)
    processes = [
        fork.Process(target=fail, args=(f"q{number}", batch, start))
        for number in range(len(causes))
    ]
    for process in processes:
        process.start()
    start.wait()
    began = time.perf_counter()
    for process in processes:
        process.join()
    elapsed = time.perf_counter() - began
    expected, found = len(causes) * count, FailureGroup.objects.values_list("failure_count")
    assert sum(number for (number,) in found) == expected
    return expected / elapsed


def fail(queue_name: str, batch: int, start: Any) -> None:
    """Do as a worker does, until its queue is empty."""
    connections["default"].ensure_connection()
    start.wait()
    lanes = [(queue_name, 0)]
    while (claim := lifecycle.claim(lanes, limit=batch, worker=queue_name)).tasks:
        lifecycle.settle([AttemptRun(task, timezone.now).ending() for task in claim.tasks])


if __name__ == "__main__":
    main()
