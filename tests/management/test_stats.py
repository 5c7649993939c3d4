"""``retrytasks stats``: runs, failures and run times of each function, counted by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError

from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.operators import statistics
from tests.management.running import run, run_both, values
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.rows import database_now

ECHOES = "tests.support.tasks.echoes"


def ended(driver: Driver, status: Status, *, seconds: Iterable[float], **fields: Any) -> None:
    """Store ended Tasks whose last attempts took these seconds."""
    for took in seconds:
        task = driver.task_in(status)
        Task.objects.filter(pk=task.pk).update(**fields)
        attempt = Attempt.objects.get(task=task)
        attempt.finished_at = attempt.started_at + timedelta(seconds=took)
        attempt.save()


@pytest.mark.django_db
class TestNumbers:
    def test_of_each_function(self, driver: Driver) -> None:
        ended(driver, Status.SUCCEEDED, seconds=range(1, 20))
        ended(driver, Status.FAILED, seconds=[20])
        ended(driver, Status.SUCCEEDED, seconds=[0.5], name="orders.tasks.send")
        failing = tasks.fails_at_once_again.enqueue()
        driver.drain()

        told = {row["name"]: row for row in values("stats")["functions"]}

        assert set(told) == {ECHOES, "orders.tasks.send", "tests.support.tasks.fails_at_once_again"}
        echoes = told[ECHOES]
        assert (echoes["task_count"], echoes["failed_count"], echoes["run_count"]) == (20, 1, 20)
        assert (echoes["failed_share"], echoes["mean_attempts"]) == (0.05, 1.0)
        assert (echoes["p50"], echoes["p95"]) == (10.0, 19.0)
        assert told["orders.tasks.send"]["p50"] == told["orders.tasks.send"]["p95"] == 0.5
        assert driver.row(failing).status == Status.FAILED
        again = told["tests.support.tasks.fails_at_once_again"]
        assert (again["run_count"], again["mean_attempts"], again["failed_share"]) == (4, 4.0, 1.0)

    def test_leave_out_what_did_not_end_in_time(self, driver: Driver) -> None:
        driver.task_in(Status.PENDING)
        driver.task_in(Status.DISCARDED)
        ended(
            driver,
            Status.SUCCEEDED,
            seconds=[1],
            finished_at=DatabaseNow() - timedelta(hours=2),
        )

        assert values("stats", "--since", "1h")["functions"] == []
        assert len(values("stats", "--since", "3h")["functions"]) == 1
        assert len(values("stats")["functions"]) == 1

    def test_leave_out_internal_tasks(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert Task.objects.filter(internal=True, status=Status.SUCCEEDED).exists()
        assert [row["name"] for row in values("stats")["functions"]] == [
            "tests.support.tasks.fails_once_for_all"
        ]

    def test_are_printed_as_a_table(self, driver: Driver) -> None:
        ended(driver, Status.SUCCEEDED, seconds=[1.5])
        ended(driver, Status.FAILED, seconds=[2.5])

        since, heading, line = run("stats").splitlines()

        assert since.startswith("ended since 2")
        assert heading.split()[:6] == ["function", "tasks", "runs", "failed", "mean", "attempts"]
        assert line.split() == [ECHOES, "2", "2", "50.0%", "1.000", "1.500", "2.500"]

    def test_of_a_task_without_attempts_are_not_known(self, driver: Driver) -> None:
        task = driver.task_in(Status.FAILED)
        Attempt.objects.filter(task=task).delete()

        [row] = values("stats")["functions"]

        assert (row["task_count"], row["p50"], row["p95"]) == (1, None, None)
        assert run("stats").splitlines()[-1].split()[-2:] == ["-", "-"]


@pytest.mark.django_db
class TestBounds:
    def test_more_tasks_than_are_read_shorten_the_time_for_all(self, driver: Driver) -> None:
        now = database_now()
        for minutes in range(6):
            at = now - timedelta(minutes=minutes)
            ended(driver, Status.SUCCEEDED, seconds=[1], finished_at=at)
            ended(driver, Status.FAILED, seconds=[1], finished_at=at, name="a.rare.failure")

        read = statistics.read(now - timedelta(days=1), limit=3)
        output, errors = run_both("stats", "--limit", "3")

        assert read.is_cut
        assert {each.name: each.task_count for each in read.functions} == {
            ECHOES: 4,
            "a.rare.failure": 4,
        }
        assert len(output.splitlines()) == 4
        assert errors.startswith("More than 3 Tasks succeeded, or failed, in the time asked for")
        assert values("stats", "--limit", "3")["is_cut"]
        assert not values("stats", "--limit", "100")["is_cut"]

    def test_take_four_statements_whatever_is_stored(
        self, driver: Driver, django_assert_num_queries: Any
    ) -> None:
        ended(driver, Status.SUCCEEDED, seconds=[1, 2, 3])
        since = database_now() - timedelta(days=1)

        with django_assert_num_queries(4):
            statistics.read(since, limit=10)

    @pytest.mark.parametrize(
        "moment", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00", "0001-01-01T00:00+14:00"]
    )
    @pytest.mark.parametrize("subcommand", ["stats", "list", "discard"])
    def test_moments_that_no_database_stores_are_refused(
        self, subcommand: str, moment: str
    ) -> None:
        with pytest.raises(CommandError, match=r"since: the time must be of a year from 1000 to"):
            run(subcommand, "--since", moment)

    @pytest.mark.parametrize("words", [("--since", "x"), ("--limit", "x"), ("--since", "1y")])
    def test_wrong_ones_are_refused(self, words: tuple[str, ...]) -> None:
        with pytest.raises(CommandError, match=r"is no (time|count): give"):
            run("stats", *words)
