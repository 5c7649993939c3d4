"""Alert rules: what breaks each."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db.models import F
from django.utils import timezone

from django_retrytasks.alerts.rules import Rule, check
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.periodic import switch_off, switch_on
from django_retrytasks.models import FailureGroup, Status, Task
from tests.alerts.breaches import FAILS, fail, finish, make_due_for
from tests.support import tasks
from tests.support.declarations import declared, pass_time
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


def breaches(rule: str, **options: Any) -> list[str]:
    """Return what breaks this rule, in words."""
    return [group.message for group in Rule.from_entry({"rule": rule, **options}).breaches()]


class TestOldestDue:
    def test_a_task_that_waits_for_too_long_breaks_it(self) -> None:
        make_due_for(400, tasks.succeeds.using(queue_name="emails").enqueue())

        assert breaches("oldest_due", over=300) == [
            'The oldest due Task of queue "emails" has waited for more than 300 s'
        ]
        assert breaches("oldest_due", over=500) == []

    def test_each_queue_breaks_it_by_itself_whatever_its_priorities(self) -> None:
        make_due_for(60, tasks.succeeds.using(queue_name="b", priority=5).enqueue())
        make_due_for(60, tasks.succeeds.using(queue_name="b").enqueue())
        make_due_for(60, tasks.succeeds.using(queue_name="a").enqueue())
        make_due_for(5, tasks.succeeds.using(queue_name="c").enqueue())

        rule = Rule.from_entry({"rule": "oldest_due", "over": timedelta(seconds=30)})
        found = list(rule.breaches())

        assert [group.message.split('"')[1] for group in found] == ["a", "b"]
        assert len({group.pk for group in found}) == 2

    def test_it_may_be_about_one_queue(self) -> None:
        make_due_for(60, tasks.succeeds.using(queue_name="a").enqueue())

        assert len(breaches("oldest_due", over=30, queue_name="a")) == 1
        assert breaches("oldest_due", over=30, queue_name="b") == []

    def test_a_task_of_the_future_is_not_due(self) -> None:
        tasks.succeeds.using(run_after=timezone.now() + timedelta(days=1)).enqueue()

        assert breaches("oldest_due", over=0.001) == []

    def test_a_claim_that_lapsed_is_due(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        driver.claim()
        make_due_for(60, result)

        assert len(breaches("oldest_due", over=30)) == 1


class TestFailureRate:
    def test_a_share_above_the_limit_breaks_it(self, driver: Driver) -> None:
        finish(driver, Status.FAILED, 6)
        finish(driver, Status.SUCCEEDED, 14)

        assert breaches("failure_rate", over=0.29) == [
            "More than 29 % of the Tasks that finished within 600 s failed"
        ]
        assert breaches("failure_rate", over=0.3) == []

    def test_any_failure_is_above_zero(self, driver: Driver) -> None:
        finish(driver, Status.SUCCEEDED)
        assert breaches("failure_rate", over=0, least=1) == []

        finish(driver, Status.FAILED)

        assert len(breaches("failure_rate", over=0, least=1)) == 1

    def test_it_is_silent_while_few_have_finished(self, driver: Driver) -> None:
        finish(driver, Status.FAILED, 19)
        assert breaches("failure_rate", over=0.2) == []

        finish(driver, Status.SUCCEEDED)

        assert len(breaches("failure_rate", over=0.2)) == 1
        assert breaches("failure_rate", over=0.2, least=21) == []

    def test_what_finished_before_is_not_counted(self, driver: Driver) -> None:
        finish(driver, Status.FAILED, 20, ago=700)

        assert breaches("failure_rate", over=0.2) == []
        assert len(breaches("failure_rate", over=0.2, within=timedelta(minutes=20))) == 1

    def test_discarded_and_internal_tasks_are_not_counted(self, driver: Driver) -> None:
        finish(driver, Status.DISCARDED, 30)
        finish(driver, Status.FAILED, 30, internal=True)

        assert breaches("failure_rate", over=0, least=1) == []

    def test_it_may_be_about_one_function_in_one_queue(self, driver: Driver) -> None:
        finish(driver, Status.FAILED, name="shop.a", queue_name="emails")
        finish(driver, Status.SUCCEEDED, 9, name="shop.a")
        finish(driver, Status.SUCCEEDED, 9, name="shop.b", queue_name="emails")

        def of(**chosen: str) -> list[str]:
            return breaches("failure_rate", over=0.5, least=1, **chosen)

        text = "More than 50 % of the Tasks that finished within 600 s failed"
        assert of() == of(name="shop.a") == of(queue_name="emails") == []
        assert of(name="shop.a", queue_name="emails") == [f'{text}: shop.a, queue "emails"']

    def test_of_many_it_looks_at_the_time_that_the_latest_of_each_took(
        self, driver: Driver
    ) -> None:
        finish(driver, Status.SUCCEEDED, 10_500, ago=20)
        finish(driver, Status.FAILED, 1_200, ago=300)
        # 10.3 % failed. With the first number cut off at 10,000 that would be 10.7 %.
        assert breaches("failure_rate", over=0.105) == []

        finish(driver, Status.FAILED, 1_300, ago=10)

        # Now 11 % of what has finished in the last 20 seconds.
        assert len(breaches("failure_rate", over=0.105)) == 1

    def test_failures_of_other_functions_shorten_that_time_and_are_not_counted(
        self, driver: Driver
    ) -> None:
        finish(driver, Status.SUCCEEDED, 9, name="shop.a", ago=100)
        finish(driver, Status.FAILED, 1, name="shop.a", ago=10)
        finish(driver, Status.FAILED, 9_998, ago=20)
        assert breaches("failure_rate", over=0.2, least=1, name="shop.a") == []

        finish(driver, Status.FAILED, ago=15)

        assert len(breaches("failure_rate", over=0.2, least=1, name="shop.a")) == 1


class TestGroupGrowth:
    def test_a_group_that_grows_fast_breaks_it(self, driver: Driver) -> None:
        group = fail(driver, 4)

        [found] = Rule.from_entry({"rule": "group_growth", "over": 3}).breaches()

        assert found.message == f"More than 3 Tasks failed within 60 s: ValueError in {FAILS}"
        assert found.name == FAILS
        assert found.pk != group.pk
        assert breaches("group_growth", over=4) == []

    def test_failures_of_several_groups_are_not_added(self, driver: Driver) -> None:
        fail(driver, 2)
        tasks.raises.using(max_retries=0).enqueue("OSError")
        driver.drain()

        assert [text.rpartition(" ")[2] for text in breaches("group_growth", over=1)] == [FAILS]
        assert len(breaches("group_growth", over=0)) == 2

    def test_what_failed_before_is_not_counted(self, driver: Driver) -> None:
        fail(driver, 3, ago=70)
        fail(driver, 1)

        assert breaches("group_growth", over=1) == []
        assert len(breaches("group_growth", over=1, within=timedelta(minutes=2))) == 1

    def test_a_muted_group_breaks_it_once_the_mute_is_over(self, driver: Driver) -> None:
        group = fail(driver, 2)
        groups.mute([group.pk], timezone.now() + timedelta(hours=1))
        assert breaches("group_growth", over=1) == []

        FailureGroup.objects.update(muted_until=DatabaseNow())

        assert len(breaches("group_growth", over=1)) == 1

    @pytest.mark.parametrize("leave_alone", [groups.mute, groups.resolve])
    def test_a_group_that_is_not_to_be_heard_of_does_not(
        self, driver: Driver, leave_alone: Any
    ) -> None:
        leave_alone([fail(driver, 2).pk])

        assert breaches("group_growth", over=1) == []


class TestSilence:
    def test_a_function_of_which_no_task_succeeded_breaks_it(self, driver: Driver) -> None:
        name = "tests.support.tasks.succeeds"
        silent = [f"No Task of {name} has succeeded within 3600 s"]
        assert breaches("silence", name=name, within=3600) == silent

        finish(driver, Status.SUCCEEDED, name=name, ago=3500)
        assert breaches("silence", name=name, within=3600) == []

        Task.objects.update(finished_at=F("finished_at") - timedelta(seconds=200))
        assert breaches("silence", name=name, within=timedelta(hours=1)) == silent

    def test_neither_failures_nor_other_functions_count(self, driver: Driver) -> None:
        finish(driver, Status.FAILED, name="shop.nightly")
        finish(driver, Status.DISCARDED, name="shop.nightly")
        finish(driver, Status.SUCCEEDED, name="shop.nightly_too")

        assert len(breaches("silence", name="shop.nightly", within=60)) == 1


@pytest.mark.usefixtures("no_declarations")
class TestSilenceOfPeriodicTasks:
    name = "tests.support.tasks.echoes"
    silent: ClassVar = [f"No Task of {name} has succeeded since its last moment but one"]

    def test_one_that_misses_a_whole_period_breaks_it_without_a_number(
        self, driver: Driver
    ) -> None:
        declared(every=3600)
        pass_time(days=1)
        assert breaches("silence", name=self.name) == self.silent

        finish(driver, Status.SUCCEEDED, name=self.name, ago=5)
        assert breaches("silence", name=self.name) == []

        Task.objects.update(finished_at=F("finished_at") - timedelta(hours=2))
        assert breaches("silence", name=self.name) == self.silent

    def test_one_that_was_declared_or_switched_on_since_does_not(self) -> None:
        row = declared(every=3600)
        assert breaches("silence", name=self.name) == []

        pass_time(days=1)
        switch_off(row.pk)
        assert breaches("silence", name=self.name) == []

        switch_on(row.pk)
        assert breaches("silence", name=self.name) == []

    def test_a_task_that_is_not_periodic_needs_the_number(self) -> None:
        entry = {"rule": "silence", "name": "tests.support.tasks.succeeds"}
        with pytest.raises(ValueError, match='silence needs "within", since no periodic'):
            check(entry)

        declared(task=tasks.succeeds, args=[])

        check(entry)

    def test_it_looks_back_as_far_as_from_a_moment_to_the_next_but_one(self) -> None:
        declared(every=3600)

        rule = Rule.from_entry({"rule": "silence", "name": self.name})

        assert rule.looks_back() == {Status.SUCCEEDED: 7200}
