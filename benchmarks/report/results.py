"""Results: readings of every round, with the machine and the versions; kept as JSON."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cases.reading import Reading

LATEST = Path(__file__).parents[1] / "results" / "latest.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """All readings of one entry, the first round's first."""

    name: str
    title: str
    readings: Sequence[Reading]

    @property
    def median(self) -> float:
        return statistics.median(reading.rate for reading in self.readings)

    @property
    def range(self) -> tuple[float, float]:
        rates = [reading.rate for reading in self.readings]
        return min(rates), max(rates)

    @property
    def lost(self) -> int:
        return sum(reading.lost for reading in self.readings)

    @property
    def doubled(self) -> int:
        return sum(reading.doubled for reading in self.readings)

    @property
    def unkept(self) -> int:
        """Return how many tasks have no row, if their peer keeps any."""
        counts = [(one.count, one.kept.get("tasks", 0)) for one in self.readings]
        return sum(count - kept for count, kept in counts if kept)

    def cost(self, name: str) -> float | None:
        """Return the median of what one unit costs; None if it was not measured."""
        costs = [reading.costs[name] for reading in self.readings if name in reading.costs]
        return statistics.median(costs) if costs else None


@dataclass(frozen=True, kw_only=True)
class Section:
    """A case on one database: a row for each entry."""

    case: str
    title: str
    store: str
    reference: str
    rows: Sequence[Row]

    def ratio(self, row: Row) -> float | None:
        """Return the reference's rate over the row's: the median of the rounds' own ratios."""
        reference = next((one for one in self.rows if one.name == self.reference), None)
        if reference is None:
            return None
        pairs = zip(reference.readings, row.readings, strict=False)
        return statistics.median(ours.rate / theirs.rate for ours, theirs in pairs)


@dataclass(frozen=True, kw_only=True)
class Results:
    """One run of the benchmarks; ``seconds`` and ``crowd`` are its amounts."""

    date: str
    machine: dict[str, str]
    versions: dict[str, str]
    rounds: int
    seconds: float
    crowd: int
    sections: Sequence[Section]

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")


def load(path: Path) -> Results:
    found = json.loads(path.read_text())
    return Results(**{**found, "sections": [_section(each) for each in found["sections"]]})


def _section(found: dict[str, Any]) -> Section:
    return Section(**{**found, "rows": [_row(each) for each in found["rows"]]})


def _row(found: dict[str, Any]) -> Row:
    return Row(**{**found, "readings": [Reading(**each) for each in found["readings"]]})
