"""Failure groups: when each is told of, and what an operator says of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_retrytasks import worker
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import FailureGroup, Status, Task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.shop import (
    HEAR,
    fail,
    heard,
    mood,
    recover,
    sends,
    sweep,
    the_group,
    time_goes_by,
)
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db
GROUP = FailureGroup.Status


def alerts() -> list[tuple[str, int, int]]:
    """Return what was heard: the kind of each alert, its count, and how many of these are new."""
    return [(alert.kind.value, alert.count, alert.new_count) for alert in heard]


class TestThrottle:
    def test_a_thousand_failures_of_one_cause_are_told_in_four_alerts_at_most(
        self, driver: Driver
    ) -> None:
        for _ in range(10):
            fail(driver, 100)

        kinds = [kind for kind, _, _ in alerts()]
        assert kinds == ["FAILING"] + ["STILL_FAILING"] * (len(alerts()) - 1)
        assert 2 <= len(alerts()) <= 4
        counts = [count for _, count, _ in alerts()]
        assert counts == sorted(set(counts))
        assert sum(new for _, _, new in alerts()) == counts[-1]
        assert the_group().failure_count == Task.objects.filter(status=Status.FAILED).count()

    def test_the_counts_told_are_those_of_the_rows(self, driver: Driver) -> None:
        for _ in range(120):
            fail(driver)

        assert alerts() == [("FAILING", 1, 1), ("STILL_FAILING", 10, 9), ("STILL_FAILING", 100, 90)]

    def test_the_first_failure_after_a_cooldown_is_told_with_those_before_it(
        self, driver: Driver
    ) -> None:
        fail(driver)
        fail(driver, 3)
        time_goes_by(timedelta(hours=1))

        fail(driver)

        assert alerts() == [("FAILING", 1, 1), ("STILL_FAILING", 5, 4)]

    def test_what_failed_within_a_cooldown_is_told_after_it_by_the_sweep(
        self, driver: Driver
    ) -> None:
        fail(driver)
        fail(driver, 3)
        sweep(driver)
        time_goes_by(timedelta(minutes=59))
        sweep(driver)
        assert len(alerts()) == 1

        time_goes_by(timedelta(minutes=2))
        sweep(driver)
        sweep(driver)

        assert alerts()[1:] == [("STILL_FAILING", 4, 3)]

    def test_the_cooldown_is_a_setting(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [HEAR],
            "ALERT_COOLDOWN": timedelta(seconds=30),
        }
        fail(driver)
        time_goes_by(timedelta(seconds=31))

        fail(driver)

        assert len(alerts()) == 2

    def test_each_cause_is_told_of_by_itself(self, driver: Driver) -> None:
        fail(driver)
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert alerts() == [("FAILING", 1, 1)] * 2


class TestRecovery:
    def test_a_success_after_quiet_is_told_once(self, driver: Driver) -> None:
        fail(driver, 3)
        time_goes_by(timedelta(minutes=6))
        mood["fails"] = False
        fail(driver)

        sweep(driver)
        sweep(driver)

        assert alerts()[1:] == [("RECOVERED", 3, 3 - alerts()[0][1])]
        group = the_group()
        assert group.recovered_at is not None
        assert (group.streak_count, group.failure_count) == (0, 3)

    def test_quiet_without_a_success_is_no_recovery(self, driver: Driver) -> None:
        mood["fails"] = False
        fail(driver)
        mood["fails"] = True
        time_goes_by(timedelta(minutes=1))
        fail(driver)
        time_goes_by(timedelta(minutes=6))

        sweep(driver)

        assert len(alerts()) == 1

    def test_a_success_amid_failures_is_no_recovery(self, driver: Driver) -> None:
        fail(driver)
        mood["fails"] = False
        fail(driver)

        sweep(driver)

        assert len(alerts()) == 1
        assert the_group().streak_count == 1

    def test_a_success_of_another_function_is_no_recovery(self, driver: Driver) -> None:
        fail(driver)
        time_goes_by(timedelta(minutes=6))
        tasks.succeeds.enqueue()
        driver.drain()

        sweep(driver)

        assert len(alerts()) == 1

    def test_a_failure_long_after_it_is_told_at_once(self, driver: Driver) -> None:
        fail(driver)
        recover(driver)
        time_goes_by(timedelta(hours=1))

        fail(driver)

        assert alerts()[2:] == [("FAILING", 1, 1)]
        assert the_group().failure_count == 2

    def test_one_that_comes_and_goes_is_told_of_once_in_a_cooldown(self, driver: Driver) -> None:
        for _ in range(19):  # for 114 minutes
            fail(driver)
            recover(driver)

        assert [kind for kind, _, _ in alerts()] == ["FAILING", "RECOVERED"] * 2
        assert the_group().failure_count == 19

    def test_ten_failures_soon_after_it_are_told(self, driver: Driver) -> None:
        fail(driver)
        recover(driver)

        for _ in range(10):
            fail(driver)

        assert alerts()[2:] == [("FAILING", 10, 10)]


class TestOperators:
    def test_a_muted_group_is_counted_and_not_told_of(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])

        fail(driver, 20)
        time_goes_by(timedelta(hours=2))
        sweep(driver)

        assert len(alerts()) == 1
        assert the_group().failure_count == 21

    def test_a_mute_ends_by_itself_and_what_failed_meanwhile_is_told(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk], timezone.now() + timedelta(hours=2))
        fail(driver, 5)
        time_goes_by(timedelta(hours=1))
        sweep(driver)
        assert len(alerts()) == 1

        time_goes_by(timedelta(hours=1, minutes=1))
        sweep(driver)

        assert alerts()[1:] == [("STILL_FAILING", 6, 5)]
        assert (the_group().status, the_group().muted_until) == (GROUP.OPEN, None)

    def test_what_failed_during_a_mute_is_told_after_it_and_then_that_it_is_over(
        self, driver: Driver
    ) -> None:
        fail(driver)
        groups.mute([the_group().pk], timezone.now() + timedelta(hours=2))
        fail(driver, 5)
        recover(driver)
        assert len(alerts()) == 1
        assert the_group().status == GROUP.MUTED

        time_goes_by(timedelta(hours=2))
        sweep(driver)

        assert alerts()[1:] == [("STILL_FAILING", 6, 5), ("RECOVERED", 6, 0)]

    def test_a_resolved_group_that_fails_again_is_a_regression(self, driver: Driver) -> None:
        fail(driver, 3)
        told = len(alerts())
        groups.resolve([the_group().pk])
        assert the_group().status == GROUP.RESOLVED

        fail(driver)

        group = the_group()
        assert group.status == GROUP.OPEN
        assert group.resolved_at is not None
        assert group.regressed_at is not None
        assert group.resolved_at < group.regressed_at
        assert group.streak_started_at == group.regressed_at
        assert alerts()[told:] == [("FAILING", 1, 1)]

    def test_a_failed_attempt_that_is_retried_opens_no_resolved_group(self, driver: Driver) -> None:
        tasks.always_fails.enqueue()
        driver.run_due()
        groups.resolve([the_group().pk])

        tasks.always_fails.enqueue()
        driver.run_due()

        assert the_group().status == GROUP.RESOLVED
        assert the_group().failed_attempt_count == 2

    def test_a_reopened_group_alerts_again(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])
        fail(driver, 3)
        groups.reopen([the_group().pk])
        time_goes_by(timedelta(hours=1))

        sweep(driver)

        assert alerts()[1:] == [("STILL_FAILING", 4, 3)]

    def test_a_group_is_pruned_with_its_last_task(self, driver: Driver) -> None:
        fail(driver)
        time_goes_by(timedelta(days=89))
        worker.sweep()
        assert FailureGroup.objects.count() == 1
        time_goes_by(timedelta(days=2))

        worker.sweep()
        worker.sweep()

        assert FailureGroup.objects.count() == 0

    @pytest.mark.parametrize("kept", [0, 600])
    def test_a_short_retention_loses_no_alert(
        self, driver: Driver, settings: Any, kept: int
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [HEAR], "RETENTION": {"FAILED": kept}}
        sends.enqueue()
        driver.run_due()
        time_goes_by(timedelta(minutes=11))

        for _ in range(2):
            worker.sweep()
        driver.drain()
        fail(driver)

        assert alerts() == [("FAILING", 1, 1)]
        assert the_group().failure_count == 2

    def test_a_muted_group_is_not_forgotten(self, driver: Driver) -> None:
        fail(driver)
        groups.mute([the_group().pk])
        time_goes_by(timedelta(days=100))

        worker.sweep()
        worker.sweep()

        assert FailureGroup.objects.count() == 1
        assert not the_group().tasks.exists()
