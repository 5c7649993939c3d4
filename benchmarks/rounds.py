"""Measure a case: its entries in turn, round after round, each on a stage of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack

from benchmarks.cases.catalogue import Amounts, Case, Entry
from benchmarks.cases.reading import Reading
from benchmarks.cases.stages import Stage, staged
from benchmarks.measuring.hosts import RefusedError
from benchmarks.measuring.processes import WorkerEndedError
from benchmarks.measuring.servers import VARIABLES, url_of
from benchmarks.results import Row, Section


def measure(
    case: Case,
    store: str,
    entries: Sequence[Entry],
    amounts: Amounts,
    *,
    rounds: int,
    deadline: float | None = None,
) -> Section:
    """Measure the case on one database.

    An entry that cannot be measured is told and left out. After the deadline, on the clock of
    ``time.monotonic``, no further measurement begins.
    """
    say(f"\n{case.title}, {store}")
    readings: dict[str, list[Reading]] = {entry.name: [] for entry in entries}
    with ExitStack() as stack:
        stages = _set_up(case, store, entries, amounts, stack)
        for number in range(1, rounds + 1):
            for entry in entries:
                if deadline is not None and time.monotonic() > deadline:
                    say("  no time is left for more")
                    break
                if entry.name in stages:
                    _measure(entry, stages, amounts, readings[entry.name], number)
    rows = [
        Row(name=entry.name, title=entry.title, readings=readings[entry.name])
        for entry in entries
        if readings[entry.name]
    ]
    return Section(
        case=case.name, title=case.title, store=store, reference=case.reference, rows=rows
    )


def _set_up(
    case: Case, store: str, entries: Sequence[Entry], amounts: Amounts, stack: ExitStack
) -> dict[str, Stage]:
    stages = {}
    for entry in entries:
        try:
            name = f"{case.name}_{entry.name}"
            stage = stack.enter_context(staged(entry.peer, store, name, is_counted=case.is_counted))
            if entry.set_up is not None:
                entry.set_up(stage, amounts)
            stages[entry.name] = stage
        except RefusedError as refused:
            say(f"  {entry.title}: skipped: {refused}")
    return stages


def _measure(
    entry: Entry,
    stages: dict[str, Stage],
    amounts: Amounts,
    readings: list[Reading],
    number: int,
) -> None:
    try:
        reading = entry.measure(stages[entry.name], amounts)
    except (RefusedError, WorkerEndedError) as error:
        say(f"  {entry.title}: given up: {error}")
        readings.clear()
        del stages[entry.name]
        return
    readings.append(reading)
    say(f"  round {number}: {entry.title}: {_told(reading)}")


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
    servers = (*peer.needs, *(peer.stores if len(peer.stores) == 1 else ()))
    for store in servers:
        if url_of(store) is None:
            return f"{VARIABLES[store]} is not set"
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
