"""The list of failure groups and the page of one."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, Value
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import FailureGroup, Task
from tests.admin.pages import GROUPS, LIST, group_page, raw, says, shown, text_of
from tests.admin.stored import exhaust, fail, log
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
GROUP = FailureGroup.Status
FOREIGN = "json/decoder.py"


def rows(client: Client) -> list[str]:
    """Return the markup of each row of the list of groups."""
    table = raw(client, GROUPS).partition('id="result_list"')[2].partition("</table>")[0]
    return table.split("<tr>")[2:]


def ago(**span: float) -> Any:
    moved = DatabaseNow() - Value(timedelta(**span))
    return ExpressionWrapper(moved, output_field=DateTimeField())


class TestGroupList:
    def test_counts_what_failed_of_late(self, driver: Driver, admin_client: Client) -> None:
        spans: tuple[dict[str, float], ...] = (
            {"minutes": 30},
            {"hours": 3},
            {"hours": 3.1},
            {"days": 3},
            {"days": 8},
        )
        for result, span in zip(fail(driver, 5), spans, strict=True):
            Task.objects.filter(pk=result.id).update(finished_at=ago(**span))

        [row] = rows(admin_client)

        assert " 1 / 3 / 4 " in text_of(row)
        assert 'aria-label="3 in 24 h, at most 2 in an hour"' in row
        # The bars of the fourth hour from the last, and of the last.
        assert re.findall(r'<rect x="(\d+)" y="(\d+)" width="3" height="(\d+)"', row) == [
            ("80", "0", "20"),
            ("92", "10", "10"),
        ]

    def test_leaves_out_what_was_redriven_or_discarded(
        self, driver: Driver, admin_client: Client
    ) -> None:
        redriven, discarded, _ = fail(driver, 3)
        lifecycle.redrive([uuid.UUID(redriven.id)])
        lifecycle.discard([uuid.UUID(discarded.id)])

        [row] = rows(admin_client)

        assert " 1 / 1 / 1 " in text_of(row)

    def test_a_rule_counts_no_tasks(self, admin_client: Client) -> None:
        FailureGroup.objects.create(
            fingerprint=uuid.uuid4(), kind=FailureGroup.Kind.RULE, message="too late",
            first_seen_at=ago(hours=2), last_seen_at=ago(), last_failed_at=ago(),
            failure_count=3, streak_count=3, streak_started_at=ago(hours=2),
        )  # fmt: skip

        [row] = rows(admin_client)

        assert says(text_of(row), "Open too late - 3 0 s ago first: 2 h ago")
        assert "<svg" not in row

    def test_has_the_cause_with_its_origin_beneath(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)

        [row] = rows(admin_client)

        cause = "ValueError · t.s.t.fails_once_for_all"
        origin = 'tests.support.tasks.fails_once_for_all: raise ValueError("not today")'
        assert f"{cause} {origin}" in text_of(row)

    @pytest.mark.parametrize(
        ("values", "status"),
        [
            ({}, "Open"),
            ({"streak_count": 0}, "Quiet"),
            ({"status": GROUP.MUTED}, "Muted"),
            ({"status": GROUP.RESOLVED, "streak_count": 0}, "Resolved"),
            ({"regressed_at": ago(hours=1), "streak_started_at": ago(hours=1)}, "Regressed"),
        ],
    )
    def test_tells_the_status(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], status: str
    ) -> None:
        fail(driver)
        FailureGroup.objects.update(**values)
        if "regressed_at" in values:
            [group] = FailureGroup.objects.all()
            FailureGroup.objects.update(regressed_at=group.streak_started_at)

        [row] = rows(admin_client)

        assert f">{status}</span>" in row

    def test_many_groups_cost_as_many_queries_as_one(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)
        with CaptureQueriesContext(connection) as one:
            assert len(rows(admin_client)) == 1
        fail(driver, 1, tasks.exits)
        fail(driver, 1, tasks.returns_unstorable)

        with CaptureQueriesContext(connection) as many:
            assert len(rows(admin_client)) == 3

        assert len(many) == len(one)

    def test_no_style_or_script_is_inline(self, driver: Driver, admin_client: Client) -> None:
        fail(driver)

        for page in (raw(admin_client, GROUPS), raw(admin_client, group_page())):
            assert 'href="/static/retrytasks/admin.css"' in page
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", page)


class TestGroupPage:
    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({}, "Open 3 failures in 12 min, the last 5 min ago"),
            ({"streak_count": 1}, "Open 1 failure, 5 min ago"),
            (
                {"streak_count": 0, "recovered_at": ago(minutes=3)},
                "Quiet Recovered 3 min ago, after 3 failures",
            ),
            ({"streak_count": 0}, "Quiet 3 failures, the last 5 min ago"),
            (
                {"status": GROUP.RESOLVED, "streak_count": 0, "resolved_at": ago(minutes=4)},
                "Resolved 4 min ago, after 3 failures",
            ),
            (
                {"streak_count": 0, "last_failed_at": None, "last_seen_at": ago(minutes=4)},
                "No Task failed for good; failed attempts: 3, the last 4 min ago",
            ),
            (
                {"kind": FailureGroup.Kind.RULE},
                "3 breaches in 12 min, the last 5 min ago",
            ),
        ],
    )
    def test_its_headline_says_how_many_since_when_and_whether_it_goes_on(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], sentence: str
    ) -> None:
        fail(driver, 3)
        times = {"streak_started_at": ago(minutes=17), "last_failed_at": ago(minutes=5)}
        FailureGroup.objects.update(**{**times, **values})

        text = shown(admin_client, group_page())

        assert sentence in text

    @pytest.mark.parametrize(
        ("values", "sentences"),
        [
            (
                {},
                r"The last alert was 5 min ago, when the count was 3\. It alerts next at a count "
                r"of 10, or if it fails after [\d: -]{8,19}\. ",
            ),
            (
                {"streak_count": 9},
                r"the count was 3\. It alerts next at a count of 10, or at [\d: -]{8,19}\. ",
            ),
            ({"streak_count": 10}, "The next alert is due: the sweep sends it within a minute"),
            ({"alerted_at": ago(hours=2)}, "2 h ago, .* The next failure alerts at once"),
            (
                {"alerted_at": None, "alerted_count": 0},
                "No alert has reported these failures. The next alert is due",
            ),
            ({"streak_count": 0, "alerted_count": 0, "alerted_at": None}, "failure alerts at once"),
            ({"status": GROUP.MUTED}, "Muted: no alerts until it is reopened"),
            (
                {"status": GROUP.MUTED, "muted_until": ago(hours=-1)},
                r"Muted: no alerts until [\d: -]{8,19}\.",
            ),
            ({"status": GROUP.RESOLVED}, "the next failure opens it again, and alerts"),
        ],
    )
    def test_says_when_it_alerted_last_and_when_it_does_next(
        self, driver: Driver, admin_client: Client, values: dict[str, Any], sentences: str
    ) -> None:
        fail(driver, 3)
        times = {"streak_started_at": ago(hours=3), "alerted_at": ago(minutes=5)}
        told = {"alerted_count": 3, **times}
        FailureGroup.objects.update(**{**told, **values})

        text = shown(admin_client, group_page())

        assert re.search(sentences, text)

    def test_has_the_counts_and_leads_to_its_tasks(
        self, driver: Driver, admin_client: Client
    ) -> None:
        results = fail(driver, 3)
        Task.objects.filter(pk=results[0].id).update(finished_at=ago(hours=3))

        page = raw(admin_client, group_page())

        assert "in 1 h 2 in 24 h 3 in 7 d 3 each of the last 24 hours" in text_of(page)
        [group] = FailureGroup.objects.all()
        assert f'href="{LIST}?failure_group={group.pk}"' in page

    def test_shows_the_sample_as_my_code_and_in_full(
        self, driver: Driver, admin_client: Client
    ) -> None:
        exhaust(driver, tasks.fails_in_a_library)

        text = shown(admin_client, group_page())

        own, _, full = text.partition(" Full traceback ")
        assert "attempt 4: max_retries reached (3 retries) My code Traceback" in own
        assert FOREIGN not in own
        assert FOREIGN in full

    def test_tells_what_operators_did(
        self, driver: Driver, admin_client: Client, admin_user: User
    ) -> None:
        fail(driver)
        [group] = FailureGroup.objects.all()
        groups.mute([group.pk])
        log(group, admin_user, "Muted: known")

        assert "admin Muted: known " in shown(admin_client, group_page())
