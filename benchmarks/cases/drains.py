"""Drain a backlog: from the first run until the last is recorded as done."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.measuring.costs import Meter, per_run
from benchmarks.measuring.hosts import Host
from benchmarks.measuring.processes import Processes
from benchmarks.measuring.records import Records
from benchmarks.peers.works import RETRIES

from .reading import Reading
from .stages import Stage

# Without a new run for so many seconds, what is missing counts as lost.
PATIENCE = 30
# A run that comes late and too often comes within so many seconds.
AFTERMATH = 0.3


@dataclass(frozen=True, kw_only=True)
class Work:
    """What each task does; ``seconds`` is how long it sleeps."""

    name: str = "nothing"
    seconds: float = 0.0

    @property
    def runs(self) -> int:
        return 1 + RETRIES if self.name == "fails" else 1


def drain(stage: Stage, work: Work, count: int, *, is_crowded: bool = False) -> Reading:
    """Enqueue so many tasks, then start the workers and wait; their start-up is not counted.

    If ``is_crowded``, other tasks stay and the last run ends the time, not the peer's record of it.

    Raises:
        WorkerEndedError: a worker ended, or nothing ran.
    """
    records = stage.fresh_records()
    with stage.host() as host, Meter(stage.store, stage.url, stage.counters) as meter:
        if not is_crowded:
            host.ask("empty")
        host.ask("enqueue", work.name, count, work.seconds)
        stage.analyze()
        with stage.working() as processes:
            _wait(records, processes, 1)
            processes.check(has_run=records.count() > 0)
            begun, seen = meter.sample(processes), records.count()
            _wait(records, processes, count * work.runs)
            ran_at = time.monotonic()
            if not is_crowded:
                _wait_until_settled(host)
            done_at = time.monotonic()
            ended = meter.sample(processes)
            time.sleep(AFTERMATH)
        moments, verdict = records.moments(), records.verdict(count, work.runs)
        kept = host.ask("kept").value if not is_crowded else {}
    runs = len(moments)
    # A peer that lost tasks is not charged for the wait for them.
    seconds = moments[-1] - moments[0] + done_at - ran_at
    return Reading(
        rate=runs / seconds,
        count=count,
        seconds=seconds,
        lost=verdict.lost,
        doubled=verdict.doubled,
        kept=kept,
        costs=per_run(begun, ended, runs - seen),
    )


def drain_limit(stage: Stage, count: int) -> Reading:
    """Have commands that end by themselves settle so many rows."""
    with stage.host() as host:
        host.ask("empty")
        host.ask("enqueue", "nothing", count, 0)
        stage.analyze()
        start = time.monotonic()
        with stage.working(transactions=count // 100) as processes:
            processes.wait()
            seconds = time.monotonic() - start
        kept = host.ask("kept").value
    lost = count - kept["attempts"]
    return Reading(
        rate=kept["attempts"] / seconds, count=count, seconds=seconds, lost=lost, kept=kept
    )


def _wait(records: Records, processes: Processes, count: int) -> None:
    """Wait for so many runs, or until PATIENCE is over."""
    _poll(records.count, count, processes.check)


def _wait_until_settled(host: Host) -> None:
    _poll(lambda: -int(host.ask("left").value), 0, lambda: None)


def _poll(progress: Callable[[], int], goal: int, check: Callable[[], None]) -> None:
    last, until = progress(), time.monotonic() + PATIENCE
    while (now := progress()) < goal and time.monotonic() < until:
        if now > last:
            last, until = now, time.monotonic() + PATIENCE
        check()
        time.sleep(0.005)
