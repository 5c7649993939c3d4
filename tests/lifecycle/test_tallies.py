"""What ended in each minute, counted by the sweep."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import Status, Tally, Task
from django_retrytasks.policy import StopReason
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
Counts = tuple[int, int, int, int]


def minutes_ago(minutes: float) -> datetime:
    """Return a moment ten seconds into the minute that began so many whole minutes ago."""
    return tallies.whole_minute(datetime.now(UTC)) - minutes * MINUTE + timedelta(seconds=10)


def end(driver: Driver, status: Status, at: datetime, **values: Any) -> Task:
    task = driver.row(driver.task_in(status))
    Task.objects.filter(pk=task.pk).update(finished_at=at, **values)
    return task


def told() -> dict[datetime, Counts]:
    return {
        one.minute: tuple(getattr(one, name) for name in tallies.COUNTS)
        for one in Tally.objects.all()
    }


def test_the_sweep_counts_each_minute_once(driver: Driver) -> None:
    at = minutes_ago(5)
    minute = tallies.whole_minute(at)
    end(driver, Status.SUCCEEDED, at)
    end(driver, Status.SUCCEEDED, at, attempt_count=2)
    end(driver, Status.FAILED, at)
    end(driver, Status.FAILED, at - 2 * MINUTE)
    end(driver, Status.DISCARDED, at)
    end(driver, Status.DISCARDED, at, stop_reason=StopReason.EXPIRED)
    end(driver, Status.SUCCEEDED, at, internal=True)
    driver.task_in(Status.RUNNING)

    lifecycle.sweep()

    assert told() == {minute: (1, 1, 1, 1), minute - 2 * MINUTE: (0, 0, 1, 0)}
    Task.objects.all().delete()
    driver.task_in(Status.PENDING)
    lifecycle.sweep()
    assert told() == {minute: (1, 1, 1, 1), minute - 2 * MINUTE: (0, 0, 1, 0)}


def test_an_expired_task_is_counted_though_nothing_else_ended(driver: Driver) -> None:
    minute = tallies.whole_minute(minutes_ago(5))
    tasks.succeeds.using(expires=minute).enqueue()
    driver.run_due()
    assert Task.objects.update(finished_at=minute) == 1

    tallies.take()

    assert told() == {minute: (0, 0, 0, 1)}


def test_the_minutes_not_over_for_long_are_counted_later(driver: Driver) -> None:
    latest, before = minutes_ago(0), minutes_ago(3)
    end(driver, Status.SUCCEEDED, before)
    end(driver, Status.SUCCEEDED, latest)

    tallies.take()

    assert list(told()) == [tallies.whole_minute(before)]
    since = tallies.counted_until(minutes_ago(60))
    assert since == tallies.whole_minute(before) + MINUTE
    assert [one.minute for one in tallies.ended(since)] == [tallies.whole_minute(latest)]


def test_looks_back_a_day_and_forgets_what_is_older(driver: Driver) -> None:
    lately, long_ago = minutes_ago(24 * 60 - 3), minutes_ago(26 * 60)
    end(driver, Status.SUCCEEDED, lately)
    end(driver, Status.SUCCEEDED, long_ago)
    Tally.objects.create(
        minute=tallies.whole_minute(long_ago), succeeded_count=1, retried_count=0, failed_count=0
    )

    tallies.take()

    assert list(told()) == [tallies.whole_minute(lately)]


def test_what_is_of_the_future_is_of_before_the_clock_was_set_back(driver: Driver) -> None:
    at, ahead = minutes_ago(5), tallies.whole_minute(minutes_ago(-120))
    end(driver, Status.SUCCEEDED, at)
    Tally.objects.create(minute=ahead, succeeded_count=1, retried_count=0, failed_count=0)

    tallies.take()

    assert list(told()) == [tallies.whole_minute(at)]


def test_a_site_at_rest_is_looked_at_and_not_written_to(driver: Driver) -> None:
    driver.task_in(Status.PENDING)
    tallies.take()

    with CaptureQueriesContext(connection) as queries:
        tallies.take()

    assert len([one for one in queries if "retrytasks_task" in one["sql"]]) == 2
    assert not any("INSERT" in one["sql"] for one in queries)


def test_without_tasks_there_is_nothing_to_count() -> None:
    tallies.take()

    assert told() == {}


@override_settings(USE_TZ=False)
def test_local_times_are_told_apart_as_well(driver: Driver) -> None:
    at = datetime.now().replace(second=10, microsecond=0) - 5 * MINUTE
    end(driver, Status.SUCCEEDED, at)

    tallies.take()

    assert list(told()) == [at.replace(second=0)]
