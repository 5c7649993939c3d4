"""The overview above the list of Tasks."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_retrytasks.admin import overview
from django_retrytasks.lifecycle import pauses, tallies
from django_retrytasks.models import Status, Task
from tests.admin.pages import LIST, raw, rows
from tests.admin.stored import fail_thrice, put, seconds_from_now
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


class TestOverview:
    def numbers(self, client: Client) -> dict[str, str]:
        listed = raw(client, LIST).partition('class="rt-numbers"')[2].partition("</dl>")[0]
        found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", listed)
        return {label: html.unescape(re.sub(r"<[^>]+>", "", value)) for label, value in found}

    def chart(self, client: Client, query: str = "") -> list[list[str]]:
        """Return the rows of the table behind the chart."""
        table = raw(client, LIST + query).partition('<table class="rt-ended-table">')[2]
        body = table.partition("<tbody>")[2].partition("</tbody>")[0]
        return [re.findall(r">(\d+)</td>", row) for row in body.split("<tr>")[1:]]

    def banners(self, client: Client) -> list[str]:
        return re.findall(r'<p class="rt-banner [\w-]+">(.*?)</p>', raw(client, LIST))

    def test_tells_the_numbers_that_matter(self, driver: Driver, admin_client: Client) -> None:
        put(driver.task_in(Status.PENDING), run_after=seconds_from_now(-300))
        driver.task_in(Status.PENDING)
        put(driver.task_in(Status.RUNNING), claimed_at=seconds_from_now(-300))
        driver.task_in(Status.RETRYING)
        driver.task_in(Status.FAILED)
        put(driver.task_in(Status.FAILED), finished_at=seconds_from_now(-90_000))
        Task.objects.filter(internal=True).delete()
        Task.objects.filter(status=Status.FAILED).update(claimed_at=seconds_from_now(-300))

        assert self.numbers(admin_client) == {
            "Due now": "2",
            "Oldest due": "5\xa0min",
            "Running": "1",
            "Retrying": "1",
            "Failed in 24 h": "1",
            "Last claim": "5\xa0min ago",
        }

    def test_an_empty_site_has_an_overview(self, admin_client: Client) -> None:
        assert self.numbers(admin_client)["Last claim"] == "never"
        assert self.banners(admin_client) == []
        assert self.chart(admin_client) == []

    def test_the_chart_counts_what_ended_in_each_hour_or_minute(
        self, driver: Driver, admin_client: Client
    ) -> None:
        at_once, retried, failed = (driver.task_in(Status.SUCCEEDED) for _ in range(3))
        put(at_once, finished_at=seconds_from_now(-7200))
        put(retried, finished_at=seconds_from_now(-7200), attempt_count=2)
        put(failed, status=Status.FAILED)
        put(driver.task_in(Status.SUCCEEDED), finished_at=seconds_from_now(-90_000))
        put(driver.task_in(Status.SUCCEEDED), internal=True)
        tasks.succeeds.using(expires=datetime(2026, 1, 1, tzinfo=UTC)).enqueue()
        driver.run_due()

        assert self.chart(admin_client) == [["1", "1", "0", "0"], ["0", "0", "1", "1"]]
        assert self.chart(admin_client, "?chart=hour") == [["0", "0", "1", "1"]]
        assert self.chart(admin_client, "?chart=nonsense") == self.chart(admin_client)
        assert raw(admin_client, LIST).count("<rect ") == 4

    def test_the_chart_tells_what_the_sweep_has_counted_though_it_is_pruned(
        self, driver: Driver, admin_client: Client
    ) -> None:
        put(driver.task_in(Status.FAILED), finished_at=seconds_from_now(-7200))
        driver.task_in(Status.SUCCEEDED)
        tallies.take()
        Task.objects.filter(status=Status.FAILED).delete()

        assert self.chart(admin_client) == [["0", "0", "1", "0"], ["1", "0", "0", "0"]]

    def test_the_chart_says_until_when_some_is_not_counted(
        self, driver: Driver, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(overview, "COUNT_LIMIT", 1)
        for hours in (1, 2, 3):
            put(driver.task_in(Status.SUCCEEDED), finished_at=seconds_from_now(-3600 * hours))

        assert len(self.chart(admin_client)) == 2
        assert "are missing until the sweep has counted them" in raw(admin_client, LIST)
        tallies.take()
        assert len(self.chart(admin_client)) == 3
        assert "are missing until the sweep" not in raw(admin_client, LIST)

    def test_the_latest_to_end_comes_first_where_all_have_ended(
        self, driver: Driver, admin_client: Client
    ) -> None:
        first, second = (driver.task_in(Status.FAILED) for _ in range(2))
        put(first, finished_at=seconds_from_now(-60), queue_name="first")
        put(second, finished_at=seconds_from_now(-120), queue_name="second")

        ended, enqueued = rows(admin_client, "?status=FAILED"), rows(admin_client)
        assert [row.split()[-1] for row in ended] == ["first", "second"]
        assert [row.split()[-1] for row in enqueued] == ["second", "first"]

    def test_says_when_tasks_are_due_and_nobody_claims(
        self, driver: Driver, admin_client: Client
    ) -> None:
        waits = driver.task_in(Status.PENDING)
        put(waits, run_after=seconds_from_now(-30))
        fresh = self.banners(admin_client)
        put(waits, run_after=seconds_from_now(-300))
        idle = self.banners(admin_client)
        runs = driver.task_in(Status.RUNNING)
        claims = self.banners(admin_client)
        put(runs, claimed_at=seconds_from_now(-300))

        assert [fresh, claims] == [[], []]
        assert idle == [
            "Tasks have been due for 5\xa0min and no worker claims: is qcluster running?"
        ]
        assert self.banners(admin_client) == [
            "Tasks have been due for 5\xa0min: all workers are busy, or none claims."
        ]

    def test_says_what_is_paused_by_whom_and_why(self, admin_client: Client) -> None:
        pauses.pause(queue_name="mail", by="ann", reason="<bounces>")
        pauses.pause(name="tests.support.tasks.echoes")
        put(tasks.succeeds.using(queue_name="mail").enqueue(), run_after=seconds_from_now(-300))

        assert self.banners(admin_client) == [
            "The queue mail is paused (ann): &lt;bounces&gt;",
            "The function tests.support.tasks.echoes is paused",
        ]
        assert self.numbers(admin_client)["Due now"] == "0"

    def test_costs_few_queries(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)
        raw(admin_client, LIST)

        with CaptureQueriesContext(connection) as queries:
            raw(admin_client, LIST)

        assert len(queries) <= 32, [query["sql"][:150] for query in queries]
