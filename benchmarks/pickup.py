"""How soon an idle cluster starts a Task, and what an idle cluster costs, with either broker.

``DATABASE_URL=… python -m benchmarks.pickup [--samples 200] [--seconds 60] [--rounds 3]``
in an empty PostgreSQL database of its own. The rounds alternate between bare django-q2, the stock
broker and the one that listens. Nothing else should run on the machine.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LISTENING = "django_retrytasks.broker.listening.ListeningBroker"
STOCK = "django_q.brokers.orm.ORM"
# The broker of each site, by the site's name in the report; "" where there is no app of ours.
SITES = {"bare django-q2": "", "stock broker": STOCK, "listening broker": LISTENING}

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.pickup_settings"
os.environ["PICKUP_BROKER"] = STOCK

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django_q.models import OrmQ

from benchmarks import pickup_tasks
from django_retrytasks.models import Attempt, Task

TICKS = os.sysconf("SC_CLK_TCK")
# Seconds until a started cluster has come to rest: its workers first look for the sweep after 10 s.
SETTLING = 12
LINE = "{:18}" + "{:>12}" * 6
HEADS = ("p50 ms", "p99 ms", "worst ms", "CPU %", "server CPU %", "enqueue us")


def main() -> None:
    """Measure each site in turn, and print a line for each and round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60, help="for which the CPU is measured")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    print(LINE.format("", *HEADS), flush=True)
    for _ in range(options.rounds):
        for site, broker in SITES.items():
            figures = measure(broker, options.samples, options.seconds)
            shown = (f"{each:.2f}" if each is not None else "" for each in figures)
            print(LINE.format(site, *shown), flush=True)


def measure(broker: str, samples: int, seconds: float) -> list[float | None]:
    """Return the figures of one site, in the order of the heads."""
    clear()
    settings.Q_CLUSTER["broker_class"] = broker
    enqueue = enqueue_time() if broker else None
    clear()
    with cluster(broker) as pid:
        time.sleep(SETTLING)
        cpu = busy_share(pid, seconds)
        waits = sorted(pick_up() * 1000 for _ in range(samples)) if broker else []
    if not waits:
        return [None, None, None, *cpu, None]
    p99 = waits[math.ceil(0.99 * len(waits)) - 1]
    return [statistics.median(waits), p99, waits[-1], *cpu, enqueue]


@contextmanager
def cluster(broker: str) -> Iterator[int]:
    """Run a cluster with this broker; yield the id of its main process."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "qcluster"],
        env={**os.environ, "PICKUP_BROKER": broker},
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def pick_up() -> float:
    """Enqueue a Task at a random moment; return the seconds until its function starts."""
    time.sleep(random.uniform(0.3, 0.7))
    began = time.time()
    result = pickup_tasks.started_at.enqueue()
    time.sleep(0.05)
    while (task := Task.objects.get(pk=result.id)).finished_at is None:
        time.sleep(0.05)
    return float(task.return_value) - began


def enqueue_time(count: int = 1000) -> float:
    """Return the microseconds of one enqueue, of many one by one."""
    for _ in range(100):
        pickup_tasks.started_at.enqueue()
    began = time.perf_counter()
    for _ in range(count):
        pickup_tasks.started_at.enqueue()
    return (time.perf_counter() - began) / count * 1e6


def busy_share(pid: int, seconds: float) -> tuple[float, float]:
    """Return the CPU that a cluster and its database sessions take, in per cent of one core."""
    own, server = cpu_of(descendants(pid)), cpu_of(backends())
    time.sleep(seconds)
    spent = cpu_of(descendants(pid)) - own, cpu_of(backends()) - server
    return spent[0] / seconds * 100, spent[1] / seconds * 100


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in descendants(int(child)))]


def backends() -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        return [pid for (pid,) in cursor.fetchall()]


def cpu_of(pids: list[int]) -> float:
    """Return the seconds of CPU that these processes have used so far."""
    return sum(map(cpu_of_one, pids))


def cpu_of_one(pid: int) -> float:
    try:
        user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    except FileNotFoundError:
        return 0.0
    return (int(user) + int(system)) / TICKS


def clear() -> None:
    for model in (Attempt, Task, OrmQ):
        model.objects.all()._raw_delete("default")


if __name__ == "__main__":
    main()
