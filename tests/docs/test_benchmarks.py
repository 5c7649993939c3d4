"""The page of benchmarks shows the committed figures, and what is shown is computed right."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.cases.reading import Reading
from benchmarks.measuring.records import FOLDER, Records, record
from benchmarks.report.__main__ import PAGE, PLOT
from benchmarks.report.plot import drawn
from benchmarks.report.results import LATEST, Results, Row, Section, load
from benchmarks.report.tables import drained, generated, replaced


class TestPage:
    def test_shows_the_committed_figures(self) -> None:
        page = PAGE.read_text()

        assert page == replaced(page, load(LATEST)), "run python -m benchmarks.report"

    def test_has_their_plot(self) -> None:
        section = drained(load(LATEST))

        assert section is not None
        assert PLOT.read_text() == drawn(section), "run python -m benchmarks.report"


class TestTables:
    def test_show_the_median_of_the_rounds_own_ratios(self) -> None:
        ours, theirs = row("retrytasks", [100, 900, 300]), row("tasks-db", [50, 90, 100])

        text = generated(results(ours, theirs))

        # 2, 10 and 3 times as quick; of the medians it would be 300 / 90.
        assert "| tasks-db | 90.0 | 50.0 to 100 | 3.00 x as quick |" in text

    def test_say_who_was_quicker(self) -> None:
        text = generated(results(row("retrytasks", [100]), row("tasks-db", [200])))

        assert "quicker than django-retrytasks:\n\n- tasks-db: drain tasks (PostgreSQL)" in text

    def test_tell_of_work_that_was_lost_or_doubled(self) -> None:
        bad = Reading(rate=9, count=5, seconds=1, lost=2, doubled=1, kept={"tasks": 4})

        text = generated(results(Row(name="tasks-db", title="tasks-db", readings=[bad])))

        assert "| tasks-db (**lost 2, doubled 1, without a row 1**) |" in text


class TestRecords:
    def test_tell_which_runs_are_missing_and_which_too_many(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(FOLDER, str(tmp_path))

        for number in (0, 0, 0, 2, 2, 7):
            record(number)

        verdict = Records(tmp_path).verdict(3, 2)
        assert [path.name for path in tmp_path.iterdir()] == [str(os.getpid())]
        # Twice number 1; once number 0, and number 7, which was never enqueued.
        assert (verdict.lost, verdict.doubled) == (2, 2)


def row(name: str, rates: Sequence[float]) -> Row:
    readings = [Reading(rate=rate, count=1, seconds=1) for rate in rates]
    return Row(name=name, title=name, readings=readings)


def results(*rows: Row) -> Results:
    section = Section(
        case="drain", title="drain tasks", store="PostgreSQL", reference="retrytasks", rows=rows
    )
    return Results(
        date="2026-01-01",
        machine={},
        versions={},
        rounds=3,
        seconds=4.0,
        crowd=1000,
        sections=[section],
    )
