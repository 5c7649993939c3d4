"""A short chaos run, and the proof that it would notice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
import pytest
from django.db import connections

from tests.chaos.run import Chaos, Plan, Report

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(django.VERSION < (6, 1), reason="takes long: run with the newest Django"),
    pytest.mark.django_db(transaction=True),
]

Run = Callable[[Plan], Report]


@pytest.fixture
def run(tmp_path: Path, capfd: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> Run:
    """Return a function that makes a run and shows its summary, though the test passes."""
    reporter: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def run_and_show(plan: Plan) -> Report:
        report = Chaos(plan, tmp_path, tell=lambda line: None).run()
        connections.close_all()
        with capfd.disabled():
            reporter.write_line(f"\nseed {plan.seed}")
            for line in report.lines():
                reporter.write_line(line)
        return report

    return run_and_show


def test_every_promise_is_kept_whatever_is_killed(run: Run) -> None:
    report = run(Plan(seconds=20, seed=20, supervised=1))

    assert report.violations == []
    assert report.counts["faults"].total() >= 5
    assert report.counts["attempts"]["LOST"] >= 1
    assert report.counts["Tasks"]["SUCCEEDED"] >= 20


def test_negative_control_does_not_go_unnoticed(run: Run) -> None:
    report = run(Plan(seconds=12, seed=21, rate=30, has_guard=False, patience=20))

    assert report.violations != []
