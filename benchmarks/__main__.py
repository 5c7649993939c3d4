"""Measure, verify, and keep the figures: ``python -m benchmarks``; see README.md."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.cases.catalogue import CASES, Amounts, Case, Entry
from benchmarks.measuring import machine, servers
from benchmarks.measuring.servers import MARIADB, POSTGRES, REDIS, SQLITE
from benchmarks.peers.roster import BY_NAME
from benchmarks.report.results import LATEST, Results, Section
from benchmarks.rounds import Stages, measure, obstacle, report, say

STORES = {store.lower(): store for store in (POSTGRES, MARIADB, SQLITE)}
# The quick form: what any checkout can measure within a minute.
QUICK_CASES = ("drain", "enqueue-each", "enqueue-bulk")
QUICK_PEERS = ("retrytasks", "yardstick", "tasks-db", "q2-tuned")
QUICK = Amounts(seconds=0.6)
QUICK_SECONDS = 30.0


def main() -> None:
    options = _options()
    start, described = time.monotonic(), machine.describe()
    deadline = start + QUICK_SECONDS if options.quick else math.inf
    sections = []
    with Stages(options.amounts) as stages:
        for case, store, entries in _chosen(options):
            section = measure(
                case, store, entries, stages, rounds=options.rounds, deadline=deadline
            )
            report(section)
            sections.append(section)
    if options.output:
        Results(
            date=datetime.now(UTC).date().isoformat(),
            machine=described,
            versions=_versions(sections),
            rounds=options.rounds,
            seconds=options.amounts.seconds,
            crowd=options.amounts.crowd,
            sections=sections,
        ).save(options.output)
        say(f"\nkept in {options.output}")
    say(f"{time.monotonic() - start:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a minute: few peers, one round, one database")
    add("--rounds", type=int, default=3, help="rounds of every case (3)")
    add("--seconds", type=float, default=4.0, help="about how long one drain takes (4)")
    add("--crowd", type=int, default=1_000_000, help="other Tasks in the case crowd")
    add("--only", nargs="+", choices=[case.name for case in CASES], help="these cases")
    add("--peers", nargs="+", choices=list(BY_NAME), default=list(BY_NAME), help="these peers")
    add(
        "--database",
        nargs="+",
        choices=list(STORES),
        help="these databases; else all that are named",
    )
    add("--output", type=Path, help=f"a file for the figures, such as {LATEST}")
    options = parser.parse_args()
    options.amounts = Amounts(seconds=options.seconds, crowd=options.crowd)
    options.stores = [STORES[name] for name in options.database or STORES]
    if options.quick:
        options.rounds, options.amounts = 1, QUICK
        options.only = options.only or QUICK_CASES
        options.peers = [name for name in options.peers if name in QUICK_PEERS]
        options.stores = options.stores if options.database else [_quick_store()]
    return options


def _quick_store() -> str:
    return SQLITE if servers.obstacle(POSTGRES) else POSTGRES


def _chosen(options: argparse.Namespace) -> Iterator[tuple[Case, str, Sequence[Entry]]]:
    """Yield the cases to measure, on each database, with the entries that can be measured."""
    for case in CASES:
        if options.only and case.name not in options.only:
            continue
        stores = (
            options.stores if options.quick else [s for s in case.stores if s in options.stores]
        )
        for store in stores:
            if reason := servers.obstacle(store):
                say(f"\n{case.title}, {store}: skipped: {reason}")
                continue
            wanted = [
                entry
                for entry in case.entries
                if entry.fits(store) and entry.peer.name in options.peers
            ]
            entries = [entry for entry in wanted if not _is_hindered(entry)]
            if entries:
                yield case, store, entries


def _is_hindered(entry: Entry) -> bool:
    reason = obstacle(entry)
    if reason:
        say(f"{entry.title}: skipped: {reason}")
    return bool(reason)


def _versions(sections: Sequence[Section]) -> dict[str, str]:
    names = {row.name for section in sections for row in section.rows}
    peers = [peer for name, peer in BY_NAME.items() if name in names]
    packages = {"Django", "django-q2"} | {one for peer in peers for one in peer.packages}
    stores = {section.store for section in sections}
    stores |= {one for peer in peers for one in (*peer.needs, *peer.stores) if one == REDIS}
    return machine.versions(packages, stores)


if __name__ == "__main__":
    main()
