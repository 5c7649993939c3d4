"""The page of a Task, through a browser's requests."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_retrytasks.models import Attempt, Status
from django_retrytasks.models.fields import Encoded
from tests.admin.pages import LIST, page_of, raw, says, shown
from tests.admin.stored import fail_thrice, put, seconds_from_now
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
SCRIPT = "<script>alert(1)</script>"

UNREADABLE = [
    "[not json",
    '{"__type__":"timedelta","value":[1e99]}',
    '{"__type__":"dict","value":[[1,2]]}',
    "[" * 300 + "]" * 300,
    "[" * 960 + "]" * 960,
    "1" * 5000,
]


class TestUnreadableRow:
    @pytest.mark.parametrize("text", UNREADABLE)
    @pytest.mark.parametrize("column", ["args", "kwargs", "return_value"])
    def test_is_shown_by_its_length(
        self, driver: Driver, admin_client: Client, column: str, text: str
    ) -> None:
        task = driver.task_in(Status.SUCCEEDED)
        put(task, **{column: Encoded(text)})

        assert f"Unreadable, {len(text)} characters." in shown(admin_client, page_of(task))
        assert "echoes" in raw(admin_client, LIST)

    def test_offers_no_arguments_to_change(self, driver: Driver, admin_client: Client) -> None:
        task = driver.task_in(Status.FAILED)
        redrive = page_of(task).replace("change/", "do/redrive/")
        assert '<textarea name="arguments"' in raw(admin_client, redrive)

        for text in ("[not json", "[" * 101 + "]" * 101):
            put(task, args=Encoded(text))
            assert '<textarea name="arguments"' not in raw(admin_client, redrive)


class TestPage:
    def test_what_happens_next_comes_first(self, driver: Driver, admin_client: Client) -> None:
        result = fail_thrice(driver)
        put(result, run_after=seconds_from_now(600))

        text = shown(admin_client, page_of(result))

        assert re.search(
            r"Retrying Attempt 3 of 4 failed; next retry in 10 min at [\d: -]{8,19} "
            r"Run now Snooze Discard Cancel ConnectionError: no luck Attempts "
            r"Attempt 1 Failed retry 1 of 3 in 5 s ",
            text,
        )

    @pytest.mark.parametrize(
        ("status", "values", "sentence"),
        [
            (Status.PENDING, {"run_after": seconds_from_now(600)}, "Starts in 10 min at "),
            (Status.PENDING, {}, "Due since "),
            (Status.RUNNING, {"last_attempted_at": None}, "Attempt 1 of 4: claimed 0 s ago by "),
            (
                Status.RUNNING,
                {"run_after": seconds_from_now(-300)},
                "Attempt 1 of 4: lease over since ",
            ),
            (Status.RETRYING, {}, "Attempt 1 of 4 failed; next retry in 5 s at "),
            (
                Status.SUCCEEDED,
                {"finished_at": seconds_from_now(-300)},
                "Attempt 1 of 4: succeeded 5 min ago at ",
            ),
            (
                Status.FAILED,
                {"finished_at": seconds_from_now(-300)},
                "Attempt 1 of 4: failed 5 min ago at ",
            ),
            (Status.DISCARDED, {"finished_at": seconds_from_now(-300)}, "Discarded 5 min ago at "),
            (Status.DISCARDED, {"stop_reason": "EXPIRED"}, "Expired 0 s ago at "),
        ],
    )
    def test_every_status_has_its_sentence(
        self,
        driver: Driver,
        admin_client: Client,
        status: Status,
        values: dict[str, Any],
        sentence: str,
    ) -> None:
        task = driver.task_in(status)
        if values:
            put(task, **values)

        assert says(shown(admin_client, page_of(task)), f" {status.label} {sentence}")

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            (Status.RUNNING, " Progress: 37 of 1,000: <b>reads</b> "),
            (Status.FAILED, " Last progress: 37 of 1,000: <b>reads</b> "),
            (Status.RETRYING, " Last progress: 37 of 1,000: <b>reads</b> "),
            (Status.SUCCEEDED, ""),
        ],
    )
    def test_how_far_it_is_stands_beneath(
        self, driver: Driver, admin_client: Client, status: Status, sentence: str
    ) -> None:
        task = driver.task_in(status)
        put(task, progress={"current": 37, "total": 1000, "text": "<b>reads</b>"})

        page, text = raw(admin_client, page_of(task)), shown(admin_client, page_of(task))

        assert sentence in text
        assert ("rogress: 37" in text) == ('max="100" value="3.7"' in page) == bool(sentence)
        assert "<b>reads" not in page

    @pytest.mark.parametrize(
        ("enqueue", "sentence"),
        [
            (lambda: tasks.snoozes_once.enqueue(), "Attempt 1 of 2 was put off; starts in 60 s at"),
            (lambda: tasks.discards.enqueue(), "Attempt 1 of 4 raised Discard; discarded 0 s ago"),
            (lambda: tasks.fails_once_for_all.enqueue(), "Attempt 1 of 1: failed 0 s ago at"),
            (
                lambda: tasks.sleeps.using(countdown=60).enqueue(5),
                "Attempt 1 of 2 timed out; next retry in",
            ),
        ],
    )
    def test_the_sentence_says_how_the_last_attempt_ended(
        self, driver: Driver, admin_client: Client, enqueue: Any, sentence: str
    ) -> None:
        result = enqueue()
        driver.attempt(result)

        assert says(shown(admin_client, page_of(result)), sentence)

    def test_a_lost_attempt_is_told_as_lost(self, driver: Driver, admin_client: Client) -> None:
        task = driver.task_in(Status.RUNNING)
        driver.make_due(task)
        driver.run_due()

        assert "Attempt 1 of 4 was lost with its worker; next retry in" in shown(
            admin_client, page_of(task)
        )

    def test_the_timeline_holds_every_attempt_in_order(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = fail_thrice(driver)
        driver.attempt(result)
        first = driver.attempts(result)[0]

        page = raw(admin_client, page_of(result))
        timeline = page.partition('<ol class="rt-timeline">')[2].partition("</ol>")[0]
        entries = [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", entry)).strip()
            for entry in timeline.split("<li")[1:]
        ]

        assert re.findall(r'<li value="(\d+)" class="rt-(\w+)"', timeline) == [
            ("1", "failed"),
            ("2", "failed"),
            ("3", "failed"),
            ("4", "failed"),
        ]
        assert "Attempt 1 Failed retry 1 of 3 in 5 s ConnectionError: no luck" in entries[0]
        assert "Attempt 4 Failed max_retries reached (3 retries)" in entries[3]
        for label in ("Queued", "Started", "Finished", "Next run after", "Run time", "Worker"):
            assert f" {label} " in entries[0]
        assert "Next run after" not in entries[3]
        assert first.worker in entries[0]
        assert "Traceback (most recent call last)" in entries[0]
        assert first.started_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC" in timeline

    def test_shows_the_latest_attempts_of_a_task_with_very_many(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.RETRYING)
        [first] = driver.attempts(task)
        for number in range(2, 53):
            first.pk, first.number = None, number
            first.save(force_insert=True)
        put(task, attempt_count=52)

        page = raw(admin_client, page_of(task))

        assert "2 earlier attempts are not shown." in page
        numbers = re.findall(r'<li value="(\d+)"', page)
        assert [numbers[0], numbers[-1], len(numbers)] == ["3", "52", 50]

    def test_shows_arguments_by_name_and_the_return_value(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.echoes.enqueue({"größe": [1, None]}, other=datetime(2026, 1, 2, tzinfo=UTC))
        driver.run_due()

        text = shown(admin_client, page_of(result))

        value, moment = '{ "größe": [ 1, null ] }', '"value": "2026-01-02T00:00:00+00:00"'
        assert f'Arguments value {value} other {{ "__type__": "datetime", {moment} }}' in text
        assert f"Return value [ {value}, {{" in text

    def test_shows_arguments_by_place_where_the_code_is_gone(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.echoes.enqueue("first", other=2)
        put(result, name="gone.tasks.echoes")

        text = shown(admin_client, page_of(result))
        stars = '"********************"'
        assert f"Arguments args[0] {stars} other {stars} " in text

    def test_a_task_without_arguments_or_attempts_says_so(self, admin_client: Client) -> None:
        result = tasks.succeeds.enqueue()

        assert "Attempts None yet. Arguments None. Policy" in shown(admin_client, page_of(result))

    @pytest.mark.parametrize("name", ["tests.support.tasks.echoes", "gone.tasks.echoes"])
    def test_redacted_arguments_are_never_shown(
        self, admin_client: Client, settings: Any, name: str
    ) -> None:
        settings.RETRYTASKS = {"REDACT": ["^VALUE$"]}
        result = tasks.echoes.enqueue("hunter1", other=[{"deep": {"value": "hunter2", "id": 7}}])
        put(result, name=name)

        text = shown(admin_client, page_of(result))

        assert "hunter" not in text
        assert ('"id": 7' in text) == (name == "tests.support.tasks.echoes")

    def test_shows_policy_times_and_place_with_what_they_mean(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.fails_once_for_all.using(timeout=2.5, countdown=7).enqueue()
        driver.run_due()

        text = shown(admin_client, page_of(result))

        assert "Max retries 0 Most retries in one drive. Empty: no limit." in text
        assert "Timeout 2.5 Seconds" in text
        assert "Options countdown=7, timeout=2.5 Policy options" in text
        assert "Stop reason max_retries reached Why" in text
        assert "Run after - Earliest moment" in text
        assert f"Id {result.id} Identity; retries and re-drives keep it" in text
        assert "Internal No Whether" in text

    def test_what_comes_from_a_task_is_escaped(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.always_fails.enqueue(SCRIPT)
        driver.run_due()
        put(result, name=f"{SCRIPT}.{SCRIPT}", worker=SCRIPT, queue_name=SCRIPT)
        Attempt.objects.update(
            exception_class_path=f"{SCRIPT}.{SCRIPT}", decision=SCRIPT, worker=SCRIPT
        )

        page, table = raw(admin_client, page_of(result)), raw(admin_client, LIST)

        escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
        assert SCRIPT not in page + table
        assert page.count(escaped) > 6
        assert table.count(escaped) > 4

    def test_many_attempts_cost_as_many_queries_as_one(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        raw(admin_client, page_of(result))  # what a process asks for once
        with CaptureQueriesContext(connection) as one:
            raw(admin_client, page_of(result))
        driver.attempt(result)
        driver.attempt(result)

        with CaptureQueriesContext(connection) as three:
            raw(admin_client, page_of(result))

        assert len(three) == len(one)

    def test_no_style_or_script_is_inline(self, driver: Driver, admin_client: Client) -> None:
        result = fail_thrice(driver)

        for page in (raw(admin_client, LIST), raw(admin_client, page_of(result))):
            assert 'href="/static/retrytasks/admin.css"' in page
            assert not re.search(r"<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=", page)
