"""Measure a case: its entries in turn, round after round, each on a stage of its own."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.cases.catalogue import Amounts, Case, Entry
from benchmarks.cases.reading import Reading
from benchmarks.cases.stages import Stage, staged
from benchmarks.measuring import servers
from benchmarks.measuring.hosts import RefusedError
from benchmarks.measuring.processes import WorkerEndedError
from benchmarks.report.results import Row, Section


class Stages(ExitStack):
    """Stages, made on first use and kept until the end."""

    def __init__(self, amounts: Amounts) -> None:
        super().__init__()
        self.amounts = amounts
        self._made: dict[tuple[object, ...], Stage] = {}

    def of(self, case: Case, store: str, entry: Entry) -> Stage:
        """Return the entry's stage; entries of one peer share it, unless they fill it.

        Raises:
            RefusedError: it cannot be set up.
        """
        peer = entry.peer
        filled = entry.name if entry.set_up else ""
        key = (peer.name, peer.module, store, filled, case.is_counted)
        if key not in self._made:
            name = f"{len(self._made)}_{filled or peer.name}"
            made = staged(peer, store, name, is_counted=case.is_counted)
            self._made[key] = self.enter_context(made)
            if entry.set_up is not None:
                entry.set_up(self._made[key], self.amounts)
        return self._made[key]


def measure(
    case: Case,
    store: str,
    entries: Sequence[Entry],
    stages: Stages,
    *,
    rounds: int,
    deadline: float = math.inf,
) -> Section:
    """Measure the case on one database.

    An entry that cannot be measured is told and left out. After the deadline, on the clock of
    ``time.monotonic``, no further measurement begins.
    """
    say(f"\n{case.title}, {store}")
    readings: dict[str, list[Reading]] = {entry.name: [] for entry in entries}
    for number in range(1, rounds + 1):
        # No entry is always the first, which finds the machine as the one before left it.
        first = (number - 1) % len(entries)
        for entry in (*entries[first:], *entries[:first]):
            if entry.name not in readings:
                continue
            if time.monotonic() > deadline:
                say(f"  {entry.title}: no time is left")
                continue
            try:
                stage = stages.of(case, store, entry)
                readings[entry.name].append(entry.measure(stage, stages.amounts))
                say(f"  round {number}: {entry.title}: {_told(readings[entry.name][-1])}")
            except (RefusedError, WorkerEndedError) as error:
                say(f"  {entry.title}: given up: {error}")
                del readings[entry.name]
    rows = [
        Row(name=entry.name, title=entry.title, readings=readings[entry.name])
        for entry in entries
        if readings.get(entry.name)
    ]
    return Section(
        case=case.name, title=case.title, store=store, reference=case.reference, rows=rows
    )


def _told(reading: Reading) -> str:
    costs = "".join(f", {name} {amount:,.1f}" for name, amount in reading.costs.items())
    faults = f", LOST {reading.lost}" * bool(reading.lost)
    faults += f", DOUBLED {reading.doubled}" * bool(reading.doubled)
    kept = "".join(f", {count:,} {what} kept" for what, count in reading.kept.items() if count)
    return f"{reading.rate:,.0f}/s of {reading.count:,}{kept}{costs}{faults}"


def obstacle(entry: Entry) -> str:
    """Return why the entry cannot be measured here, or ""."""
    peer = entry.peer
    if peer.missing:
        return f"{', '.join(peer.missing)} is not installed"
    for store in (*peer.needs, *(peer.stores if len(peer.stores) == 1 else ())):
        if reason := servers.obstacle(store):
            return reason
    programs = {command.split()[0] for command in peer.commands} - {"python"}
    absent = [program for program in programs if shutil.which(program) is None]
    return f"{absent[0]} is not on PATH" if absent else ""


def report(section: Section) -> None:
    """Print each entry's median, and the reference's ratio to it."""
    for row in section.rows:
        ratio = section.ratio(row)
        shown = f"{ratio:8.2f} x" if ratio is not None else ""
        say(f"  {row.title:44}{row.median:12,.0f}/s{shown}")
    reference = [row.title for row in section.rows if row.name == section.reference]
    say(f"  ({', '.join(reference) or 'nothing'} is so many times as quick)")


def say(line: str) -> None:
    print(line, flush=True)
