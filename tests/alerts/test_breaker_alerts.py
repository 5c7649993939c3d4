"""What a site hears of a breaker: one alert and one signal when it opens, and when it closes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers, sweep
from django_retrytasks.models import FailureGroup, OpenBreaker, Task
from django_retrytasks.signals import breaker_closed, breaker_opened
from django_retrytasks.worker.breaking import breaking
from tests.alerts.stage import alerting
from tests.support import service
from tests.support.driver import Driver, received
from tests.support.service import down
from tests.support.shop import HEAR, heard

pytestmark = pytest.mark.django_db
NAME = "tests.support.service.calls"


@pytest.fixture(autouse=True)
def _hear(settings: Any) -> None:
    settings.RETRYTASKS = alerting(HEAR)
    heard.clear()
    breaking.__init__()  # type: ignore[misc]
    service.service.__init__()  # type: ignore[misc]


def told() -> list[tuple[str, str]]:
    return [(alert.kind.value, alert.subject) for alert in heard]


def open_it(driver: Driver, *, max_retries: int = 2) -> None:
    service.calls.using(max_retries=max_retries).enqueue_many([()] * 6)
    with down():
        for _ in range(6):
            driver.run_due()


def close_it(driver: Driver) -> None:
    OpenBreaker.objects.update(next_probe_at=DatabaseNow() - timedelta(seconds=1))
    for _ in range(6):
        driver.run_due()


def test_one_alert_when_it_opens_and_one_when_it_closes(driver: Driver) -> None:
    open_it(driver)
    opening = ("FAILING", f"The breaker of {NAME} is open: its Tasks wait")
    assert told() == [opening]

    close_it(driver)

    assert told() == [
        opening,
        ("RECOVERED", f"Recovered: The breaker of {NAME} is open: its Tasks wait"),
    ]
    assert FailureGroup.objects.filter(kind="RULE", streak_count=0).count() == 1


def test_failures_behind_it_are_counted_and_alert_once_it_is_closed(driver: Driver) -> None:
    open_it(driver, max_retries=0)
    assert [kind for kind, _ in told()] == ["FAILING"]
    group = FailureGroup.objects.get(kind="FAILURE")
    assert (group.failure_count, group.alerted_at) == (3, None)

    sweep()
    driver.run_due()
    assert len(heard) == 1

    close_it(driver)
    from django_retrytasks.alerts import sending

    sending.review()
    driver.run_due()
    assert "failed 3 times" in told()[-1][1]


def test_other_failures_of_the_function_alert_meanwhile(driver: Driver) -> None:
    breakers.open_breaker(NAME, probe_every=60)
    driver.run_due()
    OpenBreaker.objects.update(exception_class_path="builtins.ConnectionError")
    service.calls.using(max_retries=0).enqueue()
    OpenBreaker.objects.update(next_probe_at=DatabaseNow() - timedelta(seconds=1))

    with down(error=ValueError("bad data")):
        for _ in range(4):
            driver.run_due()

    assert any("ValueError" in subject for _, subject in told())


def test_a_breaker_that_stays_open_does_not_recover(driver: Driver) -> None:
    open_it(driver)
    FailureGroup.objects.update(last_failed_at=F("last_failed_at") - timedelta(hours=1))
    from django_retrytasks.alerts import sending

    sending.review()
    driver.run_due()

    assert [kind for kind, _ in told()] == ["FAILING"]


def test_signals_tell_of_both(driver: Driver) -> None:
    with received(breaker_opened) as opened, received(breaker_closed) as closed:
        open_it(driver)
        close_it(driver)

    [opening], [closing] = opened, closed
    assert (opening["name"], opening["key"], opening["by"]) == (NAME, "", "")
    assert opening["reason"] == "3 failures in a row: ConnectionError"
    assert opening["sender"] is OpenBreaker
    assert closing["name"] == NAME
    assert closing["at"] >= opening["at"]


def test_a_receiver_that_raises_costs_no_alert(driver: Driver) -> None:
    def raises(**details: Any) -> None:
        raise RuntimeError("no luck")

    breaker_opened.connect(raises, weak=False, dispatch_uid="raises")
    try:
        open_it(driver)
    finally:
        breaker_opened.disconnect(dispatch_uid="raises")

    assert len(told()) == 1
    assert not Task.objects.filter(internal=True).unfinished().exists()
