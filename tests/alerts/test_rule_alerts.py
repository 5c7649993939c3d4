"""Alert rules: how an entry must be written, what a look costs, and how a breach is told."""

from __future__ import annotations

from datetime import timedelta
from reprlib import repr as short_repr
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_retrytasks.alerts import rules
from django_retrytasks.alerts.rules import Rule
from django_retrytasks.database import DatabaseNow
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import FailureGroup, Status
from tests.alerts.breaches import FAILS, fail, finish, make_due_for
from tests.health.test_reading import reads_through
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.shop import HEAR, heard, sweep

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_heard() -> None:
    heard.clear()


def alerts() -> list[tuple[str, str]]:
    """Return what was heard: the kind of each alert, and its subject."""
    return [(alert.kind.value, alert.subject) for alert in heard]


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
             "imported here: is the path right, and is its module deployed?"),
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
        [first] = Rule.from_entry(entry).breaches()
        make_due_for(500, tasks.succeeds.enqueue())

        [later] = Rule.from_entry(entry).breaches()
        [other] = Rule.from_entry(entry | change).breaches()

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
                list(Rule.from_entry(entry).breaches())

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
            "ALERTS": [HEAR],
            "ALERT_RULES": [
                {"rule": "failure_rate"},
                {"rule": "silence", "name": self.NAME, "within": 3600},
            ],
        }

    def test_a_breach_is_told_at_once_and_not_again_at_each_sweep(self, driver: Driver) -> None:
        for _ in range(3):
            sweep(driver)

        assert alerts() == [("FAILING", self.SILENT)]
        group = FailureGroup.objects.get()
        assert (group.kind, group.name) == (FailureGroup.Kind.RULE, self.NAME)
        assert (group.failure_count, group.failed_attempt_count) == (3, 0)

    def test_its_end_is_told_once_it_has_lasted(self, driver: Driver) -> None:
        sweep(driver)
        tasks.succeeds.enqueue()
        sweep(driver)
        assert len(alerts()) == 1

        FailureGroup.objects.update(last_failed_at=DatabaseNow() - timedelta(minutes=6))
        sweep(driver)

        assert alerts()[1:] == [("RECOVERED", f"Recovered: {self.SILENT}")]

    def test_a_muted_rule_is_not_heard_of(self, driver: Driver) -> None:
        sweep(driver)
        groups.mute([FailureGroup.objects.get().pk])
        FailureGroup.objects.update(alerted_at=DatabaseNow() - timedelta(hours=2))

        sweep(driver)

        assert len(alerts()) == 1

    def test_a_rule_that_cannot_be_looked_at_is_logged_and_passed_over(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        sweep(driver)

        [line] = [one for one in caplog.records if "ALERT_RULES" in one.getMessage()]
        assert line.getMessage() == 'RETRYTASKS["ALERT_RULES"][0] could not be evaluated'
        assert line.exc_info is not None
        assert str(line.exc_info[1]) == 'failure_rate needs "over"'
        assert len(alerts()) == 1

    def test_without_rules_there_is_nothing_to_tell(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [HEAR]}

        sweep(driver)

        assert alerts() == []
