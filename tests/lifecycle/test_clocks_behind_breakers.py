"""The clocks of a Task, ``expires`` and ``retry_for``, stand still while it waits for a breaker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import OpenBreaker, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.testing import advance
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.happenings import move_time
from tests.support.outage import let_the_probe_come
from tests.support.outage import new_worker as new_worker
from tests.support.rows import database_now
from tests.support.service import Unspeakable, books, down

pytestmark = pytest.mark.django_db
HOUR = 3600
NAME = "tests.support.service.books"


@pytest.fixture
def opener(driver: Driver) -> Any:
    """Open the breaker by the failure of one Task, which waits behind it."""
    result = books.enqueue(0)
    with down():
        driver.run_due()
    assert OpenBreaker.objects.get().is_open
    return result


def pass_time(seconds: float) -> None:
    """Let time pass, the expiries included."""
    move_time(seconds)
    Task.objects.update(expires_at=F("expires_at") - timedelta(seconds=seconds))


def behind(driver: Driver, order: int) -> Any:
    """Enqueue a Task that comes to wait behind the breaker."""
    result = books.enqueue(order)
    driver.run_due()
    assert driver.row(result).is_behind_breaker
    return result


def let_all_through(driver: Driver) -> None:
    let_the_probe_come()
    for _ in range(6):
        driver.run_due()
    assert not Task.objects.unfinished().exists()


def test_one_that_waits_there_keeps_its_unique_key(opener: Any, driver: Driver) -> None:
    first = behind(driver, 1)
    pass_time(HOUR)

    second = books.enqueue(1)

    assert (second.created, second.id) == (False, first.id)
    let_all_through(driver)
    assert driver.row(first).status == Status.SUCCEEDED


def test_so_does_one_that_no_claim_has_parked_yet(opener: Any) -> None:
    books.enqueue(1)
    pass_time(HOUR)

    assert not books.enqueue(1).created


@pytest.mark.parametrize("act", [lifecycle.run_now, lambda ids: lifecycle.snooze(ids, 1)])
def test_the_wait_counts_for_nothing_if_an_operator_takes_it_away(
    act: Any, opener: Any, driver: Driver
) -> None:
    touched, untouched = behind(driver, 1), behind(driver, 2)
    pass_time(HOUR)

    assert act([UUID(touched.id)]) == 1

    pass_time(2)
    driver.run_due()
    let_all_through(driver)
    assert {driver.row(one).status for one in (touched, untouched)} == {Status.SUCCEEDED}


def test_a_probe_that_no_worker_starts_in_time_expires(driver: Driver) -> None:
    breakers.open_breaker(NAME, probe_every=60)
    probe = behind(driver, 1)
    let_the_probe_come()
    lifecycle.sweep()
    assert OpenBreaker.objects.get().probe == driver.row(probe).pk

    pass_time(2 * HOUR)
    driver.run_due()

    assert driver.row(probe).stop_reason == StopReason.EXPIRED
    next_one = books.enqueue(2)
    let_all_through(driver)
    assert driver.row(next_one).status == Status.SUCCEEDED


def test_each_wait_counts_once(driver: Driver) -> None:
    breakers.open_breaker(NAME, probe_every=60)
    result = behind(driver, 1)
    for _ in range(3):
        pass_time(HOUR)
        let_the_probe_come()
        lifecycle.sweep()
        assert not driver.row(result).is_parked
        OpenBreaker.objects.update(probe=None)
        driver.run_due()
        assert driver.row(result).is_behind_breaker

    breakers.close_breaker(NAME)

    row = driver.row(result)
    assert row.expires_at is not None
    assert timedelta(0) < row.expires_at - database_now() <= timedelta(seconds=600)


def test_the_waits_between_probes_do_not_count_for_retry_for(opener: Any, driver: Driver) -> None:
    with down():
        for probes in range(1, 5):
            advance(61)
            driver.run_due()
            driver.run_due()
            assert driver.row(opener).attempt_count == 1 + probes

    advance(61)
    with down(error=ValueError("another failure")):
        driver.run_due()

    assert driver.row(opener).stop_reason == StopReason.MAX_RETRIES


@pytest.mark.parametrize("column", ["expires_at", "started_at"])
def test_a_clock_at_the_end_of_time_stops_nobody(column: str, opener: Any, driver: Driver) -> None:
    last = datetime(9999, 12, 30, tzinfo=UTC)
    result = behind(driver, 1)
    Task.objects.filter(pk=result.id).update(**{column: last})
    pass_time_of_breaker(HOUR)

    other = tasks.echoes.enqueue(5)
    let_all_through(driver)

    rows = [driver.row(one).status for one in (result, other)]
    assert rows == [Status.SUCCEEDED] * 2


def pass_time_of_breaker(seconds: float) -> None:
    OpenBreaker.objects.update(opened_at=F("opened_at") - timedelta(seconds=seconds))
    Task.objects.filter(name=NAME).update(queued_at=F("queued_at") - timedelta(seconds=seconds))


def test_a_failure_counts_although_its_message_hangs(driver: Driver) -> None:
    books.enqueue(1)
    with down(error=Unspeakable()):
        driver.run_due()

    assert OpenBreaker.objects.get().is_open
