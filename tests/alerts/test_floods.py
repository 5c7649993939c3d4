"""Many causes at once: few alerts, and no failure unreported."""

from __future__ import annotations

from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from django_retrytasks import worker
from django_retrytasks.alerts import notices
from django_retrytasks.alerts.notices import Notice, NoticeKind
from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import Failed
from django_retrytasks.models import FailureGroup
from tests.support.driver import Driver, in_another_session
from tests.support.floods import (
    HERE,
    REASON,
    breaks_at,
    fail,
    failing,
    groups_told_of,
    kinds,
    recover,
)
from tests.support.floods import many_may_fail as many_may_fail
from tests.support.shop import HEAR, heard, sweep, time_goes_by
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db


class TestLimit:
    def test_three_hundred_causes_are_ten_alerts(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [HEAR]}

        for start in range(0, 300, 100):
            fail(driver, *range(start, start + 100))
        sweep(driver)
        sweep(driver)

        assert kinds() == {"FAILING": 9, "FLOOD": 1}
        assert groups_told_of() == 300
        assert FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE).count() == 300

    def test_within_it_each_cause_is_told_of_alone_and_at_once(self, driver: Driver) -> None:
        fail(driver, 1, 2, 3)

        assert kinds() == {"FAILING": 3}
        assert not FailureGroup.objects.filter(kind=FailureGroup.Kind.RULE).exists()

    def test_it_holds_for_causes_that_come_one_after_another(self, driver: Driver) -> None:
        for place in range(12):
            fail(driver, place)
        for place in range(12, 15):
            sweep(driver)
            fail(driver, place)
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_of_one_leaves_a_single_letter_to_all(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_LIMIT"] = 1

        fail(driver, 1, 2, 3)
        assert heard == []
        sweep(driver)

        assert kinds() == {"FLOOD": 1}
        assert groups_told_of() == 3

    def test_of_none_there_is_none(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_LIMIT"] = None

        fail(driver, *range(12))
        sweep(driver)

        assert kinds() == {"FAILING": 12}

    def test_a_cause_told_of_alone_still_tells_of_its_tenth_failure(self, driver: Driver) -> None:
        fail(driver, *range(12))
        told = {alert.group.pk for alert in heard}
        sweep(driver)

        for _ in range(9):
            fail(driver, *range(12))
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1, "STILL_FAILING": 3}
        assert {alert.group.pk for alert in heard[4:]} == told

    def test_breaches_of_rules_count_like_failures(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["ALERT_RULES"] = [
            {"rule": "silence", "name": f"{HERE}.breaks_at", "within": second + 1}
            for second in range(12)
        ]

        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_the_most_failures_are_told_of_alone(self, driver: Driver) -> None:
        fail(driver, *range(6))
        sweep(driver)
        time_goes_by(timedelta(minutes=61))
        FailureGroup.objects.filter(kind="FAILURE").update(streak_count=2)
        often = FailureGroup.objects.filter(kind="FAILURE").order_by("-pk")[:3]
        FailureGroup.objects.filter(pk__in=[group.pk for group in often]).update(streak_count=9)
        heard.clear()

        sweep(driver)

        assert kinds() == {"STILL_FAILING": 3, "FLOOD": 1}
        assert sorted(alert.count for alert in heard) == [6, 9, 9, 9]


class TestAfterwards:
    def test_nobody_is_told_twice_of_what_failed_once(self, driver: Driver) -> None:
        fail(driver, *range(12))
        sweep(driver)
        time_goes_by(timedelta(hours=2))
        heard.clear()

        sweep(driver)

        assert [alert.subject for alert in heard] == [f"Recovered: {REASON}"]

    def test_what_goes_on_failing_is_told_of_after_the_cooldown(self, driver: Driver) -> None:
        fail(driver, *range(12))
        alone = {alert.group.origin for alert in heard}
        sweep(driver)
        [quiet, *_] = {f"shop.places.place_{n}" for n in range(12)} - alone
        fail(driver, int(quiet.rpartition("_")[2]))
        sweep(driver)
        assert len(heard) == 4

        time_goes_by(timedelta(minutes=61))
        sweep(driver)

        [alert] = heard[4:]
        assert (alert.kind, alert.group.origin) == (NoticeKind.STILL_FAILING, quiet)
        assert (alert.count, alert.new_count) == (2, 1)

    def test_a_flood_that_goes_on_is_told_of_once_in_a_cooldown(self, driver: Driver) -> None:
        for _ in range(13):  # for two hours
            fail(driver, *range(12))
            sweep(driver)
            time_goes_by(timedelta(minutes=10))

        # Those told of alone were so at 0, 60 and, for their 10th failure, 90 minutes.
        assert kinds() == {"FAILING": 3, "FLOOD": 3, "STILL_FAILING": 3 + 3}
        floods = [alert for alert in heard if alert.is_flood]
        assert [alert.group_count for alert in floods] == [9, 9, 9]
        assert [alert.count for alert in floods] == [9, 9 * 7, 9 * 13]
        assert [alert.new_count for alert in floods] == [9, 9 * 6, 9 * 6]
        assert [alert.told_at is None for alert in floods] == [True, False, False]

    def test_only_what_was_told_of_alone_is_told_to_be_over(self, driver: Driver) -> None:
        fail(driver, *range(12))
        alone = {alert.group.pk for alert in heard}
        sweep(driver)
        heard.clear()

        recover(driver)

        over = [alert.group for alert in heard]
        assert kinds() == {"RECOVERED": 4}
        assert {group.pk for group in over} == {*alone, FailureGroup.FLOOD}
        assert failing() == 0

    def test_what_nobody_has_been_told_of_has_not_recovered_unheard(self, driver: Driver) -> None:
        fail(driver, *range(6))
        sweep(driver)
        fail(driver, *range(6, 12))  # held back until the cooldown is over
        recover(driver)
        assert failing() == 6

        time_goes_by(timedelta(hours=1))
        heard.clear()
        sweep(driver)
        sweep(driver)

        assert groups_told_of() == 6
        assert failing() == 0

    def test_a_flood_that_is_muted_is_told_of_after_the_mute(self, driver: Driver) -> None:
        fail(driver, *range(12))
        sweep(driver)
        groups.mute([FailureGroup.FLOOD], timezone.now() + timedelta(hours=2))
        time_goes_by(timedelta(minutes=90))
        heard.clear()
        fail(driver, *range(20, 32))
        sweep(driver)
        assert kinds() == {"FAILING": 3}

        time_goes_by(timedelta(minutes=31))
        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}
        assert groups_told_of() == 12

    def test_one_that_is_rolled_back_is_told_of_by_the_next_sweep(self, driver: Driver) -> None:
        fail(driver, *range(12))
        with transaction.atomic():
            worker.sweep()
            transaction.set_rollback(True)
        assert len(heard) == 3

        sweep(driver)

        assert kinds() == {"FAILING": 3, "FLOOD": 1}


@pytest.mark.django_db(transaction=True)
class TestManyWorkers:
    def test_that_look_at_once_tell_of_no_more_than_one(self, driver: Driver) -> None:
        if not connection.features.has_select_for_update:
            pytest.skip("there is one writer at a time")
        groups = [count_a_failure(driver, place) for place in range(40)]
        barrier = Barrier(8)

        def decide(number: int) -> list[Notice]:
            barrier.wait(20)
            with transaction.atomic():
                return notices.take_due(groups[number::8])

        sessions = [in_another_session(lambda number=n: decide(number)) for n in range(8)]
        told = [notice for session in sessions for notice in session.result()]

        assert len(told) == 3
        assert not FailureGroup.objects.filter(pk=FailureGroup.FLOOD).exists()

        with transaction.atomic():
            [flood] = notices.take_overdue()

        assert (flood.kind, flood.group_count) == (NoticeKind.FLOOD, 37)


def count_a_failure(driver: Driver, place: int) -> Any:
    task = driver.row(breaks_at.enqueue(place))
    error = ErrorReport(class_path="OSError", message="", traceback="", origin=f"place_{place}")
    failed = Failed(task=task, error=error, is_final=True)
    with transaction.atomic():
        groups.count([failed])
    return failed.fingerprint
