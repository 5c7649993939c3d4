"""Upgrade a site under load, from an earlier release to this one.

In turn work

1. old clusters, on tables that the old release made;
2. old clusters, on tables that the new release has migrated;
3. old and new clusters, side by side;
4. new clusters, once the old ones have been stopped.

Both releases enqueue meanwhile, as web processes do, the new one from its migration on. In the end
every Task must be final, each release must have done part of the work, and no announcement or
alert of one may have failed in the other; the invariants of a chaos run hold.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.core.management import call_command
from django.db import connections

from django_retrytasks.models import Attempt, Task
from tests.chaos.faults import LEASE
from tests.chaos.invariants import violations
from tests.support.cluster import BEGUN, starting_cluster, wait_for

HERE = Path(__file__).parent.parent.parent
# Enqueues five Tasks a second, of the release in whose directory it is started.
ENQUEUES = """
import pathlib, random, sys, time, django
django.setup()
from tests.chaos.run import Load
load, began = Load(random.Random(), pathlib.Path(sys.argv[1])), time.monotonic()
while True:
    load.enqueue_until(5 * (time.monotonic() - began))
    time.sleep(0.05)
"""
# The tests' site, which alerts again and again.
SETTINGS = """
from tests.settings import *
RETRYTASKS = {**RETRYTASKS, "ALERT_COOLDOWN": 2}
"""


class Upgrade:
    """One upgrade on this run's database.

    Args:
        old: the source of the earlier release.
        home: an empty directory, for logs and diaries.
        seconds: how long each phase goes on.
        tell: shows a line of progress.
    """

    def __init__(self, old: Path, home: Path, seconds: float, tell: Callable[[str], None]) -> None:
        self._old = old
        self._logs = {"old": home / "old.log", "new": home / "new.log"}
        self._diaries = home / "diaries"
        self._diaries.mkdir()
        (home / "alerting.py").write_text(SETTINGS)
        self._environment = {"DJANGO_SETTINGS_MODULE": "alerting", "PYTHONPATH": str(home)}
        self._seconds = seconds
        self._tell = tell

    def run(self) -> list[str]:
        """Upgrade; return what was wrong, in words. No process that it started is left."""
        self._make_old_tables()
        with ExitStack() as new:
            with ExitStack() as old:
                old.enter_context(self._enqueuing(self._old))
                old.enter_context(self._working("old", self._old))
                self._go_on("old clusters, old tables")
                call_command("migrate", verbosity=0)
                new.enter_context(self._enqueuing(HERE))
                self._go_on("old clusters, new tables")
                new.enter_context(self._working("new", HERE))
                self._go_on("old and new clusters")
            self._go_on("new clusters")
        with self._working("new", HERE):
            wait_for(lambda: not Task.objects.unfinished().exists(), 300)
        return [*self._misfits(), *violations(self._diaries, frozen=())]

    def _make_old_tables(self) -> None:
        call_command("migrate", "retrytasks", "zero", verbosity=0)
        connections.close_all()
        migrate = [sys.executable, "-m", "django", "migrate", "--verbosity", "0"]
        subprocess.run(migrate, cwd=self._old, check=True)

    @contextmanager
    def _enqueuing(self, source: Path) -> Iterator[None]:
        """Have a process enqueue; fail if it ends by itself."""
        command = [sys.executable, "-c", ENQUEUES, str(self._diaries)]
        process = subprocess.Popen(command, cwd=source)
        try:
            yield
            assert process.poll() is None, f"{source} cannot enqueue"
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def _working(self, name: str, source: Path) -> Iterator[None]:
        """Run a supervised cluster."""
        with starting_cluster(
            self._logs[name],
            ("--max-stall", "6", "--grace", "8"),
            directory=source,
            **self._environment,
            RETRYTASKS_LEASE=f"{LEASE:g}",
            Q_CLUSTER_TIMEOUT="10",
            Q_CLUSTER_RETRY="15",
        ):
            yield

    def _go_on(self, phase: str) -> None:
        time.sleep(self._seconds)
        unfinished, attempts = Task.objects.unfinished().count(), Attempt.objects.count()
        self._tell(f"{phase}: {attempts} attempts so far, {unfinished} Tasks unfinished")

    def _misfits(self) -> Iterator[str]:
        """Yield what a release could not do with the other's; tell how much each has done."""
        ran = Attempt.objects.exclude(outcome=Attempt.Outcome.LOST).values_list(
            "worker", "task__internal", "exception_class_path"
        )
        for name, log in self._logs.items():
            pids = {pid.decode() for _, pid in BEGUN.findall(log.read_bytes())}
            made = [one for one in ran if one[0].split(":")[1] in pids]
            self._tell(f"{name} release: {len(made)} attempts")
            if not made:
                yield f"no worker of the {name} release has made an attempt"
            failed = Counter(path for _, internal, path in made if internal and path)
            yield from (f"{name} release: {path}, {n} times" for path, n in failed.items())
