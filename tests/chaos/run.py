"""One run: give clusters work, break them meanwhile, let it all come to rest, and look."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone

from django_retrytasks import RetryTask
from django_retrytasks.models import Attempt, Task
from tests.chaos.bodies import acts
from tests.chaos.faults import LEASE, Faults
from tests.chaos.invariants import violations
from tests.support.cluster import Cluster, wait_for
from tests.support.processes import send

MAX_STALL = 6.0
SUPERVISOR = ("--max-stall", f"{MAX_STALL:g}", "--grace", "8")
# Seconds: the least and the most between two faults, and between two lines of progress.
PAUSES = 0.2, 1.2
LINES = 5.0
# What a body does in one attempt, and how often that is chosen.
WORDS = {
    "return": 50,
    "sleep 0.1": 12,
    "sleep 1.5": 6,
    "raise": 14,
    "retry": 4,
    "quit": 2,
    "overrun": 1,
    "snooze": 3,
    "discard": 1,
    "kill": 2,
    "exit": 1,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run is to be. Equal plans choose alike, though processes never do quite the same."""

    seconds: float
    """How long things are broken."""
    seed: int
    supervised: int = 2
    """Clusters under a supervisor."""
    stock: int = 1
    """Clusters without, started again only when they end."""
    rate: float = 10
    """Tasks enqueued a second."""
    has_guard: bool = True
    """False: the claim's guard is sabotaged."""
    restart: str | None = None
    """Shell command that restarts the database; None: it is left running."""
    patience: float = 120
    """Seconds for all to become final once the faults have ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended."""

    counts: dict[str, Counter[str]]
    """By title: faults, Tasks by status, attempts by outcome."""
    figures: dict[str, float]
    violations: list[str]

    def lines(self) -> Iterator[str]:
        """Yield the summary, line by line."""
        for title, counter in self.counts.items():
            yield f"{title:<32}{counter.total():>7}"
            yield from (f"  {name:<30}{count:>7}" for name, count in sorted(counter.items()))
        yield from (f"{title:<32}{figure:>7.4g}" for title, figure in self.figures.items())
        yield f"{'violations':<32}{len(self.violations):>7}"
        yield from (f"  {violation}" for violation in self.violations[:20])


class Chaos:
    """One run on the connected database, whose tables are empty.

    Args:
        plan: what it is to be.
        home: an empty directory, for logs and diaries.
        tell: shows a line of progress.
    """

    def __init__(self, plan: Plan, home: Path, tell: Callable[[str], None]) -> None:
        self._plan = plan
        self._home = home
        self._tell = tell
        self._diaries = home / "diaries"
        self._diaries.mkdir()
        self._clusters: list[Cluster] = []
        self._load = Load(random.Random(plan.seed), self._diaries)
        self._chance = random.Random(plan.seed)
        self._faults = Faults(self._chance, lambda: self._clusters, plan.restart)
        self._began = self._told = time.monotonic()

    def run(self) -> Report:
        """Run it to its end; no process that it started is left."""
        try:
            self._start()
            self._work_and_break()
            seconds = self._come_to_rest()
        finally:
            left = self._stop()
        return self._report(seconds, left)

    def _start(self) -> None:
        kinds = [True] * self._plan.supervised + [False] * self._plan.stock
        self._clusters += [self._new_cluster(is_supervised=kind) for kind in kinds]
        wait_for(lambda: all(one.having("pusher") for one in self._clusters))
        self._began = time.monotonic()

    def _work_and_break(self) -> None:
        next_fault = 0.0
        while (seconds := time.monotonic() - self._began) < self._plan.seconds:
            self._load.enqueue_until(self._plan.rate * seconds)
            if seconds > next_fault:
                self._faults.cause()
                next_fault = seconds + self._chance.uniform(*PAUSES)
            self._look_after()

    def _come_to_rest(self) -> float:
        """Let all Tasks become final without further faults; return the seconds that took."""
        began = time.monotonic()
        while time.monotonic() < began + self._plan.patience:
            if not (self._faults.is_freezing or Task.objects.unfinished().exists()):
                break
            self._look_after()
        return time.monotonic() - began

    def _look_after(self) -> None:
        """Do what systemd and time do: start again what has ended, thaw what was frozen."""
        self._faults.thaw(time.monotonic())
        for place, one in enumerate(self._clusters):
            if one.process.poll() is not None:
                one.kill()
                self._clusters[place] = self._new_cluster(is_supervised=one.is_supervised)
        if time.monotonic() > self._told + LINES:
            self._tell_progress()
        time.sleep(0.05)

    def _tell_progress(self) -> None:
        self._told = time.monotonic()
        unfinished = Task.objects.unfinished().count()
        self._tell(
            f"{self._told - self._began:5.0f} s: {Task.objects.count()} Tasks, {unfinished} "
            f"unfinished, {Attempt.objects.count()} attempts, {self._faults.counts.total()} faults"
        )

    def _stop(self) -> int:
        """Stop all that runs; return how many processes the supervisors have left behind."""
        self._faults.thaw(float("inf"))
        for one in self._clusters:
            send(signal.SIGTERM, one.process.pid)
        supervised = [one for one in self._clusters if one.is_supervised]
        left = sum(len(one.left()) for one in supervised if one.wait(20))
        for one in self._clusters:
            one.kill()
        return left

    def _report(self, seconds: float, left: int) -> Report:
        logs = "".join(path.read_text(errors="replace") for path in self._home.glob("*.log"))
        found = violations(self._diaries, frozen=self._faults.frozen)
        if left:
            found.append(f"supervisors left {left} processes behind")
        rows = Task.objects.filter(internal=False)
        return Report(
            counts={
                "faults": self._faults.counts,
                "Tasks": Counter(rows.values_list("status", flat=True)),
                "attempts": Counter(Attempt.objects.values_list("outcome", flat=True)),
            },
            figures={
                "clusters started": logs.count("guarding cluster"),
                "clusters found frozen": logs.count("Cluster frozen"),
                "outcomes refused": logs.count("its claim is over"),
                "seconds to rest": seconds,
            },
            violations=found,
        )

    def _new_cluster(self, *, is_supervised: bool) -> Cluster:
        supervisor = SUPERVISOR if is_supervised else None
        return Cluster(self._new_log(), supervisor, directory=None, **self._environment())

    def _new_log(self) -> Path:
        log = self._home / f"{len(list(self._home.glob('*.log')))}.log"
        log.touch()
        return log

    def _environment(self) -> dict[str, str]:
        module = "tests.settings" if self._plan.has_guard else "tests.chaos.unguarded"
        return {
            "DJANGO_SETTINGS_MODULE": module,
            "RETRYTASKS_LEASE": f"{LEASE:g}",
            "Q_CLUSTER_TIMEOUT": "10",
            "Q_CLUSTER_RETRY": "15",
        }


class Load:
    """Enqueues Tasks, alone and together, some for later, and some only to roll them back."""

    def __init__(self, chance: random.Random, diaries: Path) -> None:
        self._chance = chance
        self._diaries = str(diaries)
        self._count = 0

    def enqueue_until(self, count: float) -> None:
        """Enqueue until there were so many."""
        while self._count < count:
            size = self._chance.choice((1, 1, 2, 5, 20))
            with transaction.atomic():
                self._task().enqueue_many([self._arguments() for _ in range(size)])
                transaction.set_rollback(self._chance.random() < 0.05)
            self._count += size

    def _task(self) -> RetryTask[..., Any]:
        soon = timezone.now() + timedelta(seconds=self._chance.uniform(0.1, 3))
        run_after = soon if self._chance.random() < 0.3 else None
        return acts.using(priority=self._chance.choice((0, 0, 10)), run_after=run_after)

    def _arguments(self) -> Sequence[Any]:
        # The last word is said for ever, so it must not be one that snoozes.
        script = [*self._chance.choices([*WORDS], [*WORDS.values()], k=5), "return"]
        return self._diaries, script
