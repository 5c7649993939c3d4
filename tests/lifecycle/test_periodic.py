"""The moments of periodic Tasks: each enqueues one Task, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_retrytasks import lifecycle, worker
from django_retrytasks.broker import sweep_schedule, wakeups
from django_retrytasks.lifecycle.periodic import switch_off, switch_on
from django_retrytasks.models import PeriodicTask, Status, Task
from django_retrytasks.operators.periodic import run_moment, run_now
from django_retrytasks.values.contract import task_enqueued
from tests.support import tasks
from tests.support.declarations import (
    RARE,
    code,
    come,
    declared,
    enqueued,
    moments_of,
    pass_time,
    planned,
    row_of,
)
from tests.support.driver import Driver, in_another_session, wake_ups
from tests.support.unique import imports_feed

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_declarations")]
TEN_SECONDS = timedelta(seconds=10)


class TestMoments:
    def test_a_moment_that_has_come_enqueues_its_task_by_the_public_door(
        self, driver: Driver
    ) -> None:
        row = declared(task=tasks.echoes, args=["report"])
        pass_time()

        come(driver)

        [task] = enqueued()
        assert (task.args, task.status) == (["report"], Status.SUCCEEDED)
        row = row_of()
        assert row.last_task == task
        assert row.last_run_at == row.calendar.latest(timezone.now())

    @pytest.mark.parametrize("days", [400, 700, 4000])
    def test_however_many_were_missed_one_task_is_enqueued(self, driver: Driver, days: int) -> None:
        declared()
        pass_time(days=days)

        for _ in range(3):
            come(driver)

        assert len(enqueued()) == 1

    def test_moments_are_planned_two_minutes_ahead_and_run_on_time(self, driver: Driver) -> None:
        row = declared(every=10)
        before = timezone.now()

        lifecycle.sweep()

        coming = moments_of(row)
        assert coming[0] > before
        assert 12 <= len(coming) <= 13
        assert {b - a for a, b in pairwise(coming)} == {TEN_SECONDS}
        assert [task.run_after for task in planned()] == coming
        # Each has a wake-up of its own at its moment.
        assert {wake.lock for wake in wake_ups()} == set(coming)
        driver.run_due()
        assert len(enqueued()) <= 1

    def test_a_second_sweep_plans_none_again(self) -> None:
        row = declared(every=10)
        lifecycle.sweep()
        before = moments_of(row)

        lifecycle.sweep()

        assert moments_of(row)[: len(before)] == before
        assert len(set(moments_of(row))) == len(moments_of(row))

    @pytest.mark.django_db(transaction=True)
    def test_nor_do_sweeps_of_several_clusters_at_once(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("one session at a time writes here")
        row = declared(every=10)

        for session in [in_another_session(lifecycle.sweep) for _ in range(6)]:
            session.result()

        assert moments_of(row)
        assert len(set(moments_of(row))) == len(moments_of(row))

    def test_a_moment_that_is_delivered_twice_enqueues_once(self, driver: Driver) -> None:
        row = declared()
        pass_time()
        moment = row.calendar.latest(timezone.now())
        for _ in range(3):
            run_moment.enqueue(str(row.pk), moment)

        driver.run_due()

        assert len(enqueued()) == 1

    def test_even_when_its_task_has_been_pruned(self, driver: Driver) -> None:
        row = declared()
        pass_time()
        come(driver)
        Task.objects.all().delete()

        run_moment.enqueue(str(row.pk), row.calendar.latest(timezone.now()))
        driver.run_due()

        assert enqueued() == []

    def test_a_moment_is_left_out_once_a_later_one_has_come(self, driver: Driver) -> None:
        row = declared()
        pass_time(days=4000)
        latest = row.calendar.latest(timezone.now())
        for ago in (2, 1, 0):
            run_moment.enqueue(str(row.pk), latest - ago * RARE)

        driver.run_due()

        assert len(enqueued()) == 1
        assert row_of().last_run_at == latest

    def test_a_moment_refers_to_a_unique_task_that_is_unfinished(self, driver: Driver) -> None:
        row = declared(task=imports_feed, args=["feed"])
        first = imports_feed.using(run_after=timezone.now() + RARE).enqueue("feed")
        pass_time()

        come(driver)

        assert [str(task.pk) for task in enqueued(row.task_name)] == [first.id]
        assert str(row_of().last_task_id) == first.id
        assert row_of().last_run_at == row_of().calendar.latest(timezone.now())

    def test_the_next_moment_enqueues_once_it_has_finished(self, driver: Driver) -> None:
        row = declared(task=imports_feed, args=["feed"])
        imports_feed.enqueue("feed")
        driver.run_due()
        pass_time()

        come(driver)

        first, second = enqueued(row.task_name)
        assert first.status == second.status == Status.SUCCEEDED
        assert row_of().last_task == second

    def test_an_enqueue_that_fails_leaves_the_moment_to_a_retry(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        row = declared()
        pass_time()
        PeriodicTask.objects.update(task_name="shop.tasks.gone")

        come(driver)

        assert (row_of().last_run_at, row_of().last_task_id) == (None, None)
        [moment] = planned()
        assert (moment.status, moment.attempt_count) == (Status.RETRYING, 1)
        assert "The periodic task report could not be enqueued: " in caplog.text
        PeriodicTask.objects.update(task_name=row.task_name)
        driver.attempt(moment)
        assert len(enqueued()) == 1

    @pytest.mark.django_db(transaction=True)
    def test_a_receiver_whose_query_fails_breaks_no_transaction(self, driver: Driver) -> None:
        declared(args=["report"])
        pass_time()
        heard: list[str] = []

        def receiver(sender: object, task_result: Any, **kwargs: object) -> None:
            heard.append(task_result.id)
            with connection.cursor() as cursor:
                cursor.execute("SELECT nonsense")

        task_enqueued.connect(receiver)
        try:
            come(driver)
            run_now(row_of())
        finally:
            task_enqueued.disconnect(receiver)

        assert heard == [str(task.pk) for task in enqueued()]
        assert len(heard) == 2
        assert row_of().last_task_id == enqueued()[1].pk

    def test_a_crash_before_the_settle_enqueues_no_second_one(self, driver: Driver) -> None:
        declared()
        pass_time()
        lifecycle.sweep()
        [moment] = driver.claim().tasks
        # The worker calls the function, and dies.
        run_moment.func(*moment.args)
        assert len(enqueued()) == 1

        driver.make_due(moment)
        driver.drain()

        assert len(enqueued()) == 1
        assert driver.row(moment).status == Status.SUCCEEDED


class TestSwitch:
    def test_one_that_is_off_enqueues_nothing_and_catches_nothing_up(self, driver: Driver) -> None:
        row = declared()
        pass_time()
        assert switch_off(row.pk)
        come(driver)
        assert enqueued() == []

        assert switch_on(row.pk)
        come(driver)

        assert enqueued() == []
        pass_time()
        come(driver)
        assert len(enqueued()) == 1

    def test_a_moment_that_is_planned_already_enqueues_nothing(self, driver: Driver) -> None:
        row = declared()
        pass_time()
        lifecycle.sweep()
        assert len(planned()) == 1
        switch_off(row.pk)

        driver.run_due()

        assert (enqueued(), planned()) == ([], [])

    def test_nor_one_that_was_planned_before_it_was_switched_on_again(self, driver: Driver) -> None:
        row = declared()
        pass_time()
        lifecycle.sweep()
        switch_off(row.pk)
        switch_on(row.pk)

        driver.run_due()

        assert enqueued() == []

    def test_a_switch_says_whether_it_changed_anything(self) -> None:
        pk = declared().pk

        assert [switch_on(pk), switch_off(pk), switch_off(pk), switch_on(pk)] == [
            False, True, False, True
        ]  # fmt: skip


class TestChanges:
    def test_moments_of_the_earlier_calendar_enqueue_nothing(self, driver: Driver) -> None:
        declared()
        pass_time()
        lifecycle.sweep()
        with code():
            declared(every=RARE + timedelta(days=1))

            driver.run_due()

            assert enqueued() == []

    def test_moments_that_are_planned_take_the_new_arguments(self, driver: Driver) -> None:
        declared(args=["old"])
        pass_time()
        lifecycle.sweep()
        with code():
            declared(args=["new"])

            driver.run_due()

        assert [task.args for task in enqueued()] == [["new"]]

    def test_a_retired_one_enqueues_nothing(self, driver: Driver) -> None:
        declared()
        pass_time()
        lifecycle.sweep()
        PeriodicTask.objects.update(retired_at=timezone.now())

        come(driver)

        assert enqueued() == []


class TestInline:
    @pytest.fixture(autouse=True)
    def sync_mode(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("django_q.conf.Conf.SYNC", True)

    @pytest.mark.django_db(transaction=True)
    def test_a_sweep_runs_what_has_come_and_nothing_ahead_of_its_moment(self) -> None:
        declared("a", args=["due"])
        pass_time()
        declared("b", args=["later"], every=10)

        worker.sweep()

        assert [(task.args, task.status) for task in enqueued()] == [(["due"], Status.SUCCEEDED)]
        assert planned() == []


@pytest.mark.django_db(transaction=True)
class TestNaiveTimes:
    @pytest.fixture(autouse=True)
    def local(self, settings: Any) -> Iterator[None]:
        settings.USE_TZ, settings.TIME_ZONE = False, "Europe/Berlin"
        # A session has the time zone with which it began.
        connection.close()
        yield
        connection.close()

    @pytest.mark.parametrize("options", [{}, {"cron": "0 0 1 1 *", "args": [1]}])
    def test_moments_come_there_too(self, driver: Driver, options: dict[str, Any]) -> None:
        declared(**options)
        pass_time()

        for _ in range(2):
            come(driver)

        assert len(enqueued()) == 1
        last = row_of().last_run_at
        assert last is not None
        assert last.minute == 0


def test_the_horizon_is_longer_than_the_time_between_two_sweeps() -> None:
    assert wakeups.HORIZON > sweep_schedule.SWEEP_OVERDUE
