"""What an outage does to many Tasks, with a breaker and without.

``DATABASE_URL=… python -m benchmarks.outage [--tasks 10000] [--seconds 360]``
in an empty database of its own. It draws the picture of the page on breakers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
os.environ["OUTAGE_FILE"] = str(Path(tempfile.mkdtemp()) / "down")

import django

django.setup()

from django.conf import settings
from django.core.management import call_command
from django_q.models import OrmQ

from benchmarks import outage_tasks
from benchmarks.report.outage import FIGURES, PICTURE, drawn
from django_retrytasks.models import Attempt, FailureGroup, OpenBreaker, Task

# Seconds for all Tasks to end once the server is back.
PATIENCE = 120


def main() -> None:
    """Run both, keep the figures, and draw them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=360, help="for which the server is down")
    options = parser.parse_args()
    call_command("migrate", verbosity=0)
    runs = {
        task.func.__name__: _run(task, options.tasks, options.seconds)
        for task in (outage_tasks.without_breaker, outage_tasks.with_breaker)
    }
    figures = {
        "tasks": options.tasks,
        "seconds": options.seconds,
        "workers": settings.Q_CLUSTER["workers"],
        "failures": outage_tasks.BREAKER.failures,
        "runs": runs,
    }
    FIGURES.write_text(json.dumps(figures, indent=1) + "\n")
    PICTURE.write_text(drawn(figures))


def _run(task: Any, count: int, seconds: float) -> dict[str, Any]:
    """Enqueue Tasks while the server is down; return what became of them, second by second."""
    for model in (Attempt, Task, OrmQ, FailureGroup, OpenBreaker):
        model.objects.all()._raw_delete("default")
    outage_tasks.DOWN.touch()
    task.enqueue_many([()] * count, results=False)
    began = Task.objects.earliest("enqueued_at").enqueued_at
    with _cluster():
        _wait_until(lambda: (datetime.now(began.tzinfo) - began).total_seconds() > seconds)
        outage_tasks.DOWN.unlink()
        waiting = Task.objects.filter(internal=False).unfinished()
        _wait_until(lambda: not waiting.exists(), PATIENCE)
    own = Task.objects.filter(internal=False)
    attempts = Attempt.objects.filter(task__internal=False)
    shown = {
        "attempts": _by_second(attempts.values_list("started_at", flat=True), began),
        "succeeded": _by_second(_ended(own, "SUCCEEDED"), began),
        "failed": _by_second(_ended(own, "FAILED"), began),
    }
    during = attempts.filter(outcome="FAILED").count()
    totals = {name: sum(each) for name, each in shown.items()} | {"failed attempts": during}
    print(task.func.__name__, totals, flush=True)
    return {"by_second": shown, "totals": totals}


def _ended(tasks: Any, status: str) -> Any:
    return tasks.filter(status=status).values_list("finished_at", flat=True)


def _by_second(moments: Any, began: datetime) -> list[int]:
    counts = Counter(int((at - began).total_seconds()) for at in moments)
    return [counts[second] for second in range(max(counts, default=0) + 1)]


def _wait_until(condition: Any, seconds: float = 3600) -> None:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            raise SystemExit("the Tasks have not ended in time")
        time.sleep(0.1)


@contextmanager
def _cluster() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", "django", "qcluster"], start_new_session=True)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
