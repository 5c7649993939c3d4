"""Rows, Schedules and clocks that are out of order stop no other periodic Task."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import Error, connection, transaction
from django.utils import timezone
from django_q.models import Schedule

from django_retrytasks import lifecycle
from django_retrytasks.broker import sweep_schedule
from django_retrytasks.lifecycle.periodic import last_moment_but_one
from django_retrytasks.models import PeriodicTask, Status, Task
from django_retrytasks.tasks import periodic
from django_retrytasks.values import calendars
from django_retrytasks.worker import keeper
from tests.support import tasks
from tests.support.declarations import (
    RARE,
    code,
    come,
    declared,
    enqueued,
    pass_time,
)
from tests.support.driver import Driver, wake_ups

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_declarations")]


WRONG = ("superseded", "every = 0", "no calendar", "huge")


def write_by_hand(name: str, wrong: str) -> None:
    """Write nonsense into a row, as far as the database takes it."""
    change = {
        "superseded": "superseded = '5'",
        "every = 0": "every = 0",
        "no calendar": "every = NULL",
        "huge": "every = 2147483647",
    }[wrong]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE retrytasks_periodictask SET {change} WHERE name = %s", [name])


class TestTrouble:
    @pytest.mark.parametrize(
        "wrong", [{"cron": "nonsense", "every": None}, {"cron": "0 0 30 2 *", "every": None}]
    )
    def test_a_row_that_cannot_be_planned_stops_no_other(
        self, driver: Driver, caplog: pytest.LogCaptureFixture, wrong: dict[str, Any]
    ) -> None:
        declared("a", args=["wrong"])
        declared("b", args=["right"])
        PeriodicTask.objects.filter(name="a").update(**wrong)
        pass_time()

        lifecycle.sweep()
        driver.run_due()

        assert [task.args for task in enqueued()] == [["right"]]
        assert "The periodic task a could not be planned" in caplog.text

    def test_arguments_that_cannot_be_read_stop_no_other(self, driver: Driver) -> None:
        declared("a", args=["wrong"])
        declared("b", args=["right"])
        with connection.cursor() as cursor:
            cursor.execute("UPDATE retrytasks_periodictask SET args = '{[' WHERE name = 'a'")
        pass_time()

        lifecycle.sweep()
        driver.run_due()

        assert [task.args for task in enqueued()] == [["right"]]

    @pytest.mark.parametrize("wrong", WRONG)
    def test_a_row_that_was_written_by_hand_stops_neither_deploy_nor_sweep(
        self, driver: Driver, wrong: str
    ) -> None:
        declared("a", args=["wrong"])
        declared("b", args=["right"])
        declared("gone")
        pass_time()
        write_by_hand("a", wrong)
        write_by_hand("gone", wrong)

        with code():
            periodic.periodic(tasks.echoes, every=RARE, args=["changed"], name="a")
            periodic.periodic(tasks.echoes, every=RARE, args=["right"], name="b")
            periodic.sync(is_deploy=True)
            come(driver)

        assert ["right"] in [task.args for task in enqueued()]

    @pytest.mark.parametrize("wrong", WRONG)
    def test_the_lists_show_the_others(
        self, wrong: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        declared("a")
        declared("b")
        write_by_hand("a", wrong)

        call_command("retrytasks", "periodic")

        assert " b " in capsys.readouterr().out
        assert last_moment_but_one("tests.support.tasks.echoes") is None

    def test_the_sweep_goes_on_although_none_can_be_read(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        driver.task_in(Status.SUCCEEDED)
        Task.objects.update(finished_at=timezone.now() - timedelta(days=30))
        monkeypatch.setattr(PeriodicTask._meta, "db_table", "no_such_table")

        with pytest.raises(Error), transaction.atomic():
            lifecycle.periodic.plan()
        with suppress(Error):
            lifecycle.sweep()

        if connection.vendor != "postgresql":  # there the test's transaction is broken
            assert not Task.objects.exists()

    def test_without_croniter_cron_lines_wait_and_the_others_go_on(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        declared("a", cron="* * * * *", args=["cron"])
        declared("b", args=["every"])
        pass_time()
        with monkeypatch.context() as patch:
            patch.setattr(calendars, "croniter", None)
            come(driver)
            assert [task.args for task in enqueued()] == [["every"]]

        come(driver)

        assert [task.args for task in enqueued()] == [["every"], ["cron"]]

    def test_a_schedule_of_somebody_else_that_stops_the_scheduler_stops_none(
        self, driver: Driver
    ) -> None:
        declared()
        pass_time()
        sweep_schedule.ensure_sweep()
        long_ago = timezone.now() - timedelta(seconds=200)
        Schedule.objects.update(next_run=long_ago)
        Schedule.objects.create(name="broken", func="math.floor", args="1, (", next_run=long_ago)

        keeper.keep_swept()

        assert len(wake_ups()) == 1
        come(driver)
        assert len(enqueued()) == 1

    def test_a_clock_that_was_set_back_by_days_does_not_put_them_off(self, driver: Driver) -> None:
        declared()
        ahead = timezone.now() + timedelta(days=30)
        PeriodicTask.objects.update(planned_at=ahead, last_run_at=ahead)

        lifecycle.sweep()
        pass_time()
        come(driver)

        assert len(enqueued()) == 1

    def test_one_that_was_set_back_by_minutes_repeats_none(self, driver: Driver) -> None:
        declared()
        pass_time()
        come(driver)
        ahead = timezone.now() + timedelta(minutes=30)
        PeriodicTask.objects.update(planned_at=ahead, last_run_at=ahead)

        come(driver)

        assert len(enqueued()) == 1

    def test_a_sweep_without_periodic_tasks_reads_once_for_them(
        self, django_assert_num_queries: Any
    ) -> None:
        with django_assert_num_queries(1):
            lifecycle.periodic.plan()
