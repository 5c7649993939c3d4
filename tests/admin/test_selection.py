"""What a list's filters and search select, and how it is counted."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_retrytasks.admin import TaskAdmin
from django_retrytasks.admin import tasks as admin_tasks
from django_retrytasks.admin.filters import selection_of
from django_retrytasks.models import FailureGroup
from django_retrytasks.operators.selections import as_of_now
from django_retrytasks.values.ids import uuid7_of
from tests.admin.pages import LIST, raw, rows
from tests.admin.stored import fail_thrice, put, seconds_from_now
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


def id_of_hours_ago(hours: float) -> Any:
    return uuid7_of(datetime.now(UTC) - timedelta(hours=hours), bytes(8))


class TestSelection:
    """What the URL of the list asks for, and what it says of it to others."""

    def names(self, client: Client, query: str) -> list[str]:
        return sorted(row.split()[1] for row in rows(client, query))

    def test_filters_by_name_error_and_failure_group(
        self, driver: Driver, admin_client: Client
    ) -> None:
        tasks.succeeds.enqueue()
        tasks.fails_once_for_all.enqueue()
        tasks.discards.enqueue()
        driver.run_due()
        group = FailureGroup.objects.get()

        for query in (
            "?name=tests.support.tasks.fails_once_for_all",
            f"?error={group.exception_class_path}",
            f"?failure_group={group.pk}",
        ):
            assert self.names(admin_client, query) == ["t.s.t.fails_once_for_all"]

    def test_filters_by_whether_it_was_retried(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)
        tasks.succeeds.enqueue()

        assert self.names(admin_client, "?retried=yes") == ["t.s.t.always_fails"]
        assert self.names(admin_client, "?retried=no") == ["t.s.t.succeeds"]

    def test_filters_by_how_long_it_has_been_due(self, admin_client: Client) -> None:
        put(tasks.succeeds.enqueue(), run_after=seconds_from_now(-301))
        put(tasks.echoes.enqueue(), run_after=seconds_from_now(-200))

        assert self.names(admin_client, "?stuck=yes") == ["t.s.t.succeeds"]

    @pytest.mark.parametrize(("within", "most"), [("hour", 1), ("day", 24), ("week", 168)])
    def test_filters_by_when_it_was_enqueued(
        self, admin_client: Client, within: str, most: int
    ) -> None:
        put(tasks.succeeds.enqueue(), id=id_of_hours_ago(most - 0.01))
        put(tasks.echoes.enqueue(), id=id_of_hours_ago(most + 0.01))
        since = datetime.now(UTC) - timedelta(hours=most)

        assert self.names(admin_client, f"?within={within}") == ["t.s.t.succeeds"]
        assert self.names(admin_client, f"?since={since:%Y-%m-%dT%H:%M:%SZ}") == ["t.s.t.succeeds"]

    def test_several_filters_and_a_search_hold_together(self, admin_client: Client) -> None:
        tasks.succeeds.enqueue()
        tasks.succeeds.using(queue_name="mail").enqueue()
        tasks.echoes.using(queue_name="mail").enqueue(1)

        query = "?queue_name=mail&status=PENDING&q=succ"
        assert self.names(admin_client, query) == ["t.s.t.succeeds"]

    @pytest.mark.parametrize(
        "query",
        [
            "status=DONE",
            "failure_group=7",
            "within=year",
            "since=monday",
            "since=9999-12-31T23:59:59-14:00",
            "since=0001-01-01T00:00",
            "retried=maybe",
            "stuck=no",
        ],
    )
    def test_what_cannot_be_is_refused_as_the_admin_does(
        self, admin_client: Client, query: str
    ) -> None:
        response = admin_client.get(f"{LIST}?{query}")

        assert response.status_code == 302
        assert response["Location"] == f"{LIST}?e=1"

    def test_offers_names_errors_and_shows_a_failure_group_asked_for(
        self, driver: Driver, admin_client: Client
    ) -> None:
        tasks.fails_once_for_all.enqueue()
        driver.run_due()
        group = FailureGroup.objects.get()

        plain = raw(admin_client, LIST)
        asked = raw(admin_client, f"{LIST}?failure_group={group.pk}")

        assert '"?name=tests.support.tasks.fails_once_for_all"' in plain
        assert '"?name=django_retrytasks.' not in plain
        assert f'"?error={group.exception_class_path}"' in plain
        assert 'data-filter-title="failure group"' not in plain
        assert 'data-filter-title="failure group"' in asked
        assert html.escape(str(group)) in asked

    @pytest.mark.parametrize(
        ("query", "selection"),
        [
            ("", {}),
            ("?status=FAILED&p=2&e=1&chart=hour&name=", {"status": "FAILED"}),
            ("?q=+ech+&internal=all", {"search": "ech", "internal": "all"}),
        ],
    )
    def test_a_url_is_a_selection(self, query: str, selection: dict[str, str]) -> None:
        assert selection_of(RequestFactory().get(LIST + query)) == selection

    def test_a_url_that_says_more_is_no_selection(self) -> None:
        with pytest.raises(ValueError, match="a selection cannot contain priority__gt: use"):
            selection_of(RequestFactory().get(f"{LIST}?priority__gt=3&status=FAILED"))

    def test_a_time_window_stays_where_it_is_once_it_is_stored(self) -> None:
        before = datetime.now(UTC) - timedelta(hours=1)
        fixed = as_of_now({"within": "hour", "status": "FAILED"})
        later, earlier = before + timedelta(minutes=5), before - timedelta(minutes=5)

        assert set(fixed) == {"since", "status"}
        assert before <= datetime.fromisoformat(fixed["since"]) < before + timedelta(minutes=1)
        for since, kept in ((later, True), (earlier, False)):
            told = as_of_now({"within": "hour", "since": since.isoformat()})["since"]
            assert (told == since.isoformat()) == kept


class TestCount:
    def test_counts_and_pages_no_further_than_a_limit_and_says_so(
        self, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(admin_tasks, "COUNT_LIMIT", 2)
        monkeypatch.setattr(TaskAdmin, "list_per_page", 1)
        tasks.succeeds.enqueue_many([()] * 2)
        exact = raw(admin_client, LIST)

        tasks.succeeds.enqueue()

        capped = raw(admin_client, LIST)
        assert "There are more than" not in exact
        assert "There are more than 2 Tasks: only the first 2 are listed." in capped
        assert f"{LIST}?e=1" in admin_client.get(f"{LIST}?p=3")["Location"]

    def test_no_query_counts_without_a_limit(self, driver: Driver, admin_client: Client) -> None:
        fail_thrice(driver)

        with CaptureQueriesContext(connection) as queries:
            raw(admin_client, LIST)

        counts = [q["sql"] for q in queries if "COUNT(" in q["sql"]]
        grouped_or_running = re.compile(r"GROUP BY|= 'RUNNING'")
        assert len(counts) > 3
        assert all(" LIMIT " in sql or grouped_or_running.search(sql) for sql in counts), counts
