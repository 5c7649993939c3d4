"""``retrytasks prune``: delete what is past its retention, or count it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import pruning
from django_retrytasks.management import terminal
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from tests.management.running import run, run_both, values
from tests.support import tasks
from tests.support.driver import Driver


def age(*rows: Task, days: int) -> None:
    ago = DatabaseNow() - timedelta(days=days)
    Task.objects.filter(pk__in=[row.pk for row in rows]).update(finished_at=ago)


def counts(*words: str) -> dict[str, int]:
    return {row["what"]: row["count"] for row in values("prune", *words)}


@pytest.mark.django_db
class TestPrune:
    @pytest.fixture(autouse=True)
    def _old_rows(self, driver: Driver) -> None:
        self.old = [driver.task_in(Status.SUCCEEDED) for _ in range(3)]
        self.old.append(driver.task_in(Status.DISCARDED))
        self.kept = [driver.task_in(Status.SUCCEEDED), driver.task_in(Status.PENDING)]
        age(*self.old, days=40)

    def test_deletes_tasks_past_their_retention_with_their_attempts(self) -> None:
        told = counts()

        assert (told["SUCCEEDED"], told["DISCARDED"], told["FAILED"]) == (3, 1, 0)
        assert set(Task.objects.all()) == set(self.kept)
        assert Attempt.objects.count() == 1
        assert set(counts().values()) == {0}

    def test_only_counts_in_a_dry_run(self) -> None:
        printed = run("prune", "--dry-run")

        assert printed.splitlines()[0].split() == ["what", "kept", "for", "would", "be", "deleted"]
        assert ["SUCCEEDED", "7", "d", "3"] in [line.split() for line in printed.splitlines()]
        assert counts("--dry-run")["DISCARDED"] == 1
        assert Task.objects.count() == 6

    def test_goes_on_until_nothing_is_left(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pruning, "CHUNK", 1)

        assert counts()["SUCCEEDED"] == 3

    def test_tells_its_progress_on_the_standard_error(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(terminal, "NOTE_EVERY", 0)
        monkeypatch.setattr(pruning, "CHUNK", 2)

        output, errors = run_both("prune")

        assert "2 Tasks deleted so far\n3 Tasks deleted so far\n" in errors
        assert "so far" not in output

    def test_keeps_for_ever_what_the_site_keeps(self, settings: Any) -> None:
        settings.RETRYTASKS = {"RETENTION": {"SUCCEEDED": None, "FAILED": None}}

        told = counts()

        assert "SUCCEEDED" not in told
        assert "failure groups" not in told
        assert told["DISCARDED"] == 1

    def test_deletes_failure_groups_too(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()
        driver.drain()
        age(driver.row(result), days=200)
        FailureGroup.objects.update(last_seen_at=DatabaseNow() - timedelta(days=200))

        assert counts("--dry-run")["FAILED"] == 1
        told = counts()

        assert (told["FAILED"], told["failure groups"]) == (1, 1)
        assert not FailureGroup.objects.exists()
