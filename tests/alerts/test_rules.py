"""Alert rules: what breaks each, and how that is told."""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from reprlib import repr as short_repr
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_retrytasks import worker
from django_retrytasks.alerts import Alert, rules
from django_retrytasks.alerts.rules import Rule
from django_retrytasks.database import DatabaseNow
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.values.ids import uuid7
from tests.support import tasks
from tests.support.driver import Driver
from tests.test_health import reads_through

pytestmark = pytest.mark.django_db

HERE = "tests.alerts.test_rules"
FAILS = "tests.support.tasks.fails_once_for_all"
alerts: list[tuple[str, str]] = []


def hear(alert: Alert) -> None:
    alerts.append((alert.kind.value, alert.subject))


@pytest.fixture(autouse=True)
def _nothing_heard() -> None:
    alerts.clear()


def breaches(rule: str, **options: Any) -> list[str]:
    """Return what breaks this rule, in words."""
    return [group.message for group in Rule.of({"rule": rule, **options}).breaches()]


def make_due_for(seconds: float, *of: Any) -> None:
    """Have these Tasks been due for so long."""
    rows = Task.objects.filter(pk__in=[one.id for one in of])
    rows.update(run_after=DatabaseNow() - timedelta(seconds=seconds))


def finish(driver: Driver, status: Status, count: int = 1, **values: Any) -> None:
    """Store so many finished Tasks; ``ago`` says how many seconds ago they ended."""
    row = driver.task_in(status)
    assert row.finished_at is not None
    row.finished_at -= timedelta(seconds=values.pop("ago", 0))
    for name, value in values.items():
        setattr(row, name, value)
    row.save()
    rows = [copy(row) for _ in range(count - 1)]
    for each in rows:
        each.pk = uuid7()
    Task.objects.bulk_create(rows, batch_size=500)


def fail(driver: Driver, count: int = 1, *, ago: float = 0) -> FailureGroup:
    """Have so many Tasks fail for good, so many seconds ago; return their group."""
    results = tasks.fails_once_for_all.enqueue_many([()] * count)
    driver.drain()
    failed = Task.objects.filter(pk__in=[result.id for result in results])
    failed.update(finished_at=F("finished_at") - timedelta(seconds=ago))
    group: FailureGroup = FailureGroup.objects.get(name=FAILS)
    return group


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

        found = list(Rule.of({"rule": "oldest_due", "over": timedelta(seconds=30)}).breaches())

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

        [found] = Rule.of({"rule": "group_growth", "over": 3}).breaches()

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


class TestEntries:
    @pytest.mark.parametrize(
        ("entry", "problem"),
        [
            ("silence", "a rule must be a dict, not 'silence'"),
            ({}, '"rule" names no rule: None. Choose from: oldest_due, failure_rate, '
             "group_growth, silence."),
            ({"rule": ["silence"]}, "\"rule\" names no rule: ['silence']. Did you mean "
             '"silence"?'),
            ({"rule": "oldest"}, "\"rule\" names no rule: 'oldest'. Did you mean \"oldest_due\"?"),
            ({"rule": "silence", "within": 60}, 'silence needs "name"'),
            ({"rule": "group_growth", "over": 1, "name": "x"}, 'group_growth has no "name". Choose '
             "from: over, within."),
            ({"rule": "oldest_due", "over": 1, "queue": "x"}, 'oldest_due has no "queue". Did you '
             'mean "queue_name"?'),
            ({"rule": "oldest_due", "over": 0}, "over must be above 0 and at most 31622400 "
             "seconds, not 0"),
            ({"rule": "oldest_due", "over": 1, "queue_name": ""}, "queue_name must have from 1 to "
             "100 characters, not ''"),
            ({"rule": "failure_rate", "over": 20}, "over must be a share of at least 0 and below "
             "1, not 20"),
            ({"rule": "failure_rate", "over": True}, "over must be a share (int, float), not True"),
            ({"rule": "failure_rate", "over": 0.1, "least": 0}, "least must be from 1 to 10000, "
             "not 0"),
            ({"rule": "group_growth", "over": 10_000}, "over must be from 0 to 9999, not 10000"),
            ({"rule": "group_growth", "over": 1.5}, "over must be an int, not 1.5"),
            ({"rule": "silence", "name": tasks.succeeds.module_path, "within": "1 h"}, "within "
             "must be seconds (int, float) or a timedelta, not '1 h'"),
            ({"rule": "silence", "name": tasks, "within": 60}, "name must be a string, not "
             f"{short_repr(tasks)}"),
            ({"rule": "silence", "name": "shop.nightly", "within": 60}, "shop.nightly cannot be "
             "imported: is its module deployed where the cluster runs?"),
        ],
    )  # fmt: skip
    def test_must_make_sense(self, entry: Any, problem: str) -> None:
        with pytest.raises((TypeError, ValueError, RetryTasksError)) as caught:
            rules.check(entry)

        assert str(caught.value) == problem

    @pytest.mark.parametrize(
        "entry",
        [
            {"rule": "oldest_due", "over": 0.5},
            {"rule": "oldest_due", "over": 300, "queue_name": None},
            {"rule": "failure_rate", "over": 0},
            {"rule": "failure_rate", "over": 0.5, "least": 10_000, "name": FAILS},
            {"rule": "group_growth", "over": 9999, "within": timedelta(days=366)},
            {"rule": "silence", "name": FAILS, "within": timedelta(hours=26)},
        ],
    )
    def test_as_documented_are_fine(self, entry: Any) -> None:
        rules.check(entry)

    @pytest.mark.parametrize("change", [{"over": 301}, {"queue_name": "default"}])
    def test_have_a_group_of_their_own_each_whatever_was_measured(
        self, change: dict[str, Any]
    ) -> None:
        entry = {"rule": "oldest_due", "over": 300}
        make_due_for(400, tasks.succeeds.enqueue())
        [first] = Rule.of(entry).breaches()
        make_due_for(500, tasks.succeeds.enqueue())

        [later] = Rule.of(entry).breaches()
        [other] = Rule.of(entry | change).breaches()

        assert (later.pk, later.message) == (first.pk, first.message)
        assert other.pk != first.pk


class TestCost:
    @pytest.mark.skipif(
        connection.vendor != "sqlite", reason="other databases choose plans by the rows there are"
    )
    def test_no_table_is_read_through(self, driver: Driver) -> None:
        fail(driver, 2)
        finish(driver, Status.SUCCEEDED, 20)
        entries: list[dict[str, Any]] = [
            {"rule": "oldest_due", "over": 1},
            {"rule": "failure_rate", "over": 0.1},
            {"rule": "failure_rate", "over": 0.1, "name": FAILS, "queue_name": "default"},
            {"rule": "group_growth", "over": 1},
            {"rule": "silence", "name": FAILS, "within": 60},
        ]
        with CaptureQueriesContext(connection) as queries:
            for entry in entries:
                list(Rule.of(entry).breaches())

        # That of the pauses is small, and read whole.
        told = [query["sql"] for query in queries]
        statements = [sql for sql in told if "retrytasks_pause" not in sql]

        assert len(statements) > 10
        assert [sql for sql in statements if reads_through(sql)] == []


class TestAlerts:
    NAME = "tests.support.tasks.succeeds"
    SILENT = f"No Task of {NAME} has succeeded within 3600 s"

    @pytest.fixture(autouse=True)
    def _configured(self, settings: Any) -> None:
        settings.RETRYTASKS = {
            "ALERTS": [f"{HERE}.hear"],
            "ALERT_RULES": [
                {"rule": "failure_rate"},
                {"rule": "silence", "name": self.NAME, "within": 3600},
            ],
        }

    def sweep(self, driver: Driver) -> None:
        worker.sweep()
        driver.drain()

    def test_a_breach_is_told_at_once_and_not_again_at_each_sweep(self, driver: Driver) -> None:
        for _ in range(3):
            self.sweep(driver)

        assert alerts == [("FAILING", self.SILENT)]
        group = FailureGroup.objects.get()
        assert (group.kind, group.name) == (FailureGroup.Kind.RULE, self.NAME)
        assert (group.failure_count, group.failed_attempt_count) == (3, 0)

    def test_its_end_is_told_once_it_has_lasted(self, driver: Driver) -> None:
        self.sweep(driver)
        tasks.succeeds.enqueue()
        self.sweep(driver)
        assert len(alerts) == 1

        FailureGroup.objects.update(last_failed_at=DatabaseNow() - timedelta(minutes=6))
        self.sweep(driver)

        assert alerts[1:] == [("RECOVERED", f"Recovered: {self.SILENT}")]

    def test_a_muted_rule_is_not_heard_of(self, driver: Driver) -> None:
        self.sweep(driver)
        groups.mute([FailureGroup.objects.get().pk])
        FailureGroup.objects.update(alerted_at=DatabaseNow() - timedelta(hours=2))

        self.sweep(driver)

        assert len(alerts) == 1

    def test_a_rule_that_cannot_be_looked_at_is_logged_and_passed_over(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.sweep(driver)

        [line] = [one for one in caplog.records if "ALERT_RULES" in one.getMessage()]
        assert line.getMessage() == 'RETRYTASKS["ALERT_RULES"][0] could not be looked at'
        assert line.exc_info is not None
        assert str(line.exc_info[1]) == 'failure_rate needs "over"'
        assert len(alerts) == 1

    def test_without_rules_there_is_nothing_to_tell(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.hear"]}

        self.sweep(driver)

        assert alerts == []
