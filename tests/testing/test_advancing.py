"""Time passes by moving rows: every moment of the package becomes so much earlier."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import models
from django.utils import timezone

from django_retrytasks import retry_task
from django_retrytasks.lifecycle.pauses import pause, resume
from django_retrytasks.models import Attempt, FailureGroup, Pause, PeriodicTask, Status, Task
from django_retrytasks.operators.periodic import run_now
from django_retrytasks.testing import (
    NotDrained,
    advance,
    assert_alerted,
    drain,
    failing,
    step,
    sweep,
)
from django_retrytasks.testing.advancing import moment_columns
from tests.support import tasks
from tests.support.declarations import declared, enqueued, pass_time, planned
from tests.support.declarations import moments_of as moments_planned
from tests.support.driver import Driver, wake_ups

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)


@retry_task(max_retries=None, countdown=600, backoff=1, jitter=False, retry_for=3600)
def gives_up_after_an_hour() -> None:
    raise ConnectionError("still closed")


def moments_of(row: models.Model) -> dict[str, datetime | None]:
    row.refresh_from_db()
    columns = dict(moment_columns())[type(row)]
    return {name: getattr(row, name) for name in columns}


def test_every_moment_that_the_package_stores_moves() -> None:
    moved = {model: set(names) for model, names in moment_columns()}

    stored = {
        model: {
            field.attname
            for field in model._meta.concrete_fields
            if isinstance(field, models.DateTimeField) and not field.primary_key
        }
        for model in apps.get_app_config("retrytasks").get_models()
        if model is not PeriodicTask
    }
    assert moved == {model: names for model, names in stored.items() if names}
    assert moved[Task] >= {"run_after", "queued_at", "enqueued_at", "started_at", "finished_at"}


def test_all_moments_of_a_task_and_its_attempts_move_together(driver: Driver) -> None:
    task = driver.row(tasks.always_fails.enqueue())
    step()
    attempt = Attempt.objects.get()
    rows: list[models.Model] = [task, attempt, FailureGroup.objects.get()]
    before = [moments_of(row) for row in rows]

    assert advance(HOUR) == 3600

    for row, then in zip(rows, before, strict=True):
        assert moments_of(row) == {name: at and at - HOUR for name, at in then.items()}
    assert {name for name, at in before[0].items() if at} >= {"run_after", "started_at"}


def test_time_that_passes_in_parts_adds_up(driver: Driver) -> None:
    result = tasks.succeeds.using(run_after=HOUR).enqueue()

    advance(1799.5)
    assert step() is None
    advance(1799)
    assert step() is None
    advance(1.5)

    assert step() is not None
    assert driver.row(result).status == Status.SUCCEEDED


def test_retry_for_counts_the_time_that_passed(driver: Driver) -> None:
    result = gives_up_after_an_hour.enqueue()

    attempts = drain(until=result)

    assert driver.row(result).stop_reason == "RETRY_FOR"
    assert len(attempts) == 6


def test_without_seconds_it_passes_to_the_next_due_moment() -> None:
    tasks.succeeds.using(run_after=2 * HOUR).enqueue()
    tasks.succeeds.using(run_after=HOUR).enqueue()

    first = advance()
    step()
    second = advance()

    assert [first, second] == pytest.approx([3600, 3600], abs=2)


def test_without_seconds_it_passes_not_at_all_while_a_task_is_due(driver: Driver) -> None:
    task = driver.row(tasks.succeeds.enqueue())
    before = moments_of(task)

    assert advance() == 0
    assert moments_of(task) == before


def test_without_seconds_a_task_has_to_wait() -> None:
    with pytest.raises(AssertionError, match="no Task waits"):
        advance()


def test_a_lease_ends(driver: Driver) -> None:
    tasks.succeeds.enqueue()
    driver.claim()

    assert advance() == pytest.approx(60, abs=2)

    attempt = step()
    assert attempt is not None
    assert attempt.outcome == "LOST"


def test_a_task_expires(driver: Driver) -> None:
    result = tasks.succeeds.using(run_after=HOUR / 2, expires=HOUR).enqueue()
    advance(HOUR)

    assert drain() == []

    task = driver.row(result)
    assert (task.status, task.stop_reason) == ("DISCARDED", "EXPIRED")


def test_parked_tasks_stay_parked(driver: Driver) -> None:
    task = driver.row(tasks.succeeds.enqueue())
    pause(queue_name="default")
    pause(name=task.name)
    resume(queue_name="default")
    drain()

    advance(HOUR)

    task.refresh_from_db()
    assert task.is_parked
    assert Pause.objects.get().paused_at < timezone.now() - HOUR / 2
    resume(name=task.name)
    assert len(drain()) == 1


def test_an_alert_follows_once_the_cooldown_is_over(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERT_COOLDOWN": HOUR, "ALERTS": ["tests.support.shop.hear"]}
    tasks.fails_once_for_all.enqueue()
    drain()
    tasks.fails_once_for_all.enqueue()
    drain()
    assert_alerted(count=1)

    advance(HOUR)
    tasks.fails_once_for_all.enqueue()
    drain()

    assert_alerted(kind="STILL_FAILING", count=1)


def test_the_sweep_tells_of_a_recovery(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": ["tests.support.shop.hear"]}
    result = tasks.echoes.using(max_retries=0).enqueue(1)
    with failing(tasks.echoes):
        drain()
    assert_alerted(result, kind="FAILING", count=1)

    tasks.echoes.enqueue(2)
    drain()
    advance(HOUR)
    sweep()
    drain()

    assert_alerted(result, kind="RECOVERED", count=1)


def test_the_sweep_prunes_what_has_become_old() -> None:
    tasks.succeeds.enqueue()
    drain()

    advance(timedelta(days=6))
    sweep()
    assert Task.objects.count() == 1
    advance(timedelta(days=2))
    sweep()

    assert Task.objects.count() == 0


@pytest.mark.usefixtures("no_declarations")
class TestPeriodic:
    def test_a_moment_runs_once_however_much_time_passes(self) -> None:
        declared(every=86400)
        pass_time(days=3)

        for _ in range(5):
            sweep()
            drain()
            advance(1)

        assert len(enqueued()) == 1

    def test_time_loses_no_planned_moment(self) -> None:
        row = declared(every=60)
        sweep()
        coming = moments_planned(row)
        assert len(coming) >= 2

        advance(HOUR)
        drain()

        assert moments_planned(row)[-1] == coming[-1]
        assert [task.run_after for task in planned()] == moments_planned(row)

    def test_planned_moments_do_not_keep_a_drain_going(self, driver: Driver) -> None:
        declared(every=60)
        sweep()
        result = tasks.succeeds.using(run_after=HOUR).enqueue()

        drain(until=result)

        assert driver.row(result).status == Status.SUCCEEDED
        with pytest.raises(NotDrained, match="no Task waits"):
            drain(until=lambda: False)

    def test_run_now_enqueues_its_task(self) -> None:
        run_now(declared(args=["report"]))

        [attempt] = drain()

        assert attempt.task.args == ["report"]


@pytest.mark.parametrize("seconds", [-1, "5", float("inf"), True])
def test_a_wrong_duration_is_refused(seconds: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="seconds must be"):
        advance(seconds)


@pytest.mark.django_db(transaction=True)
def test_it_makes_a_cluster_look(driver: Driver) -> None:
    tasks.succeeds.using(run_after=timedelta(days=3)).enqueue()
    assert wake_ups() == []

    advance(timedelta(days=3))

    assert len(wake_ups()) == 2
