"""A Task's timeline, schedule and wake-up, as its page shows them."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from django_retrytasks.models import Attempt, Task
from tests.admin.pages import page_of, raw, shown
from tests.admin.stored import fail
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
FOREIGN = "json/decoder.py"


def timeline(page: str) -> str:
    return page.partition('<ol class="rt-timeline">')[2].partition("</ol>")[0]


class TestTimeline:
    def test_tells_how_long_an_attempt_waited_and_ran(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        [attempt] = driver.attempts(driver.attempt(result))
        Attempt.objects.update(
            queued_at=attempt.started_at - timedelta(seconds=90),
            finished_at=attempt.started_at + timedelta(seconds=2.5),
        )

        text = shown(admin_client, page_of(result))

        assert f" Waited 90 s Run time 2.50 s Worker {attempt.worker} Queued " in text

    def test_a_clock_set_back_makes_no_negative_wait(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        [attempt] = driver.attempts(driver.attempt(result))
        Attempt.objects.update(queued_at=attempt.started_at + timedelta(seconds=90))

        assert " Waited 0.0 ms " in shown(admin_client, page_of(result))

    def test_shows_a_traceback_as_my_code_and_in_full(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.fails_in_a_library.enqueue()
        driver.attempt(result)

        page = raw(admin_client, page_of(result))
        own, full = (
            html.unescape(found)
            for found in re.findall(r'<pre class="rt-traceback"[^>]*>(.*?)</pre>', page, re.DOTALL)
        )

        [attempt] = driver.attempts(result)
        assert full == attempt.traceback
        assert FOREIGN in full
        assert FOREIGN not in own
        assert "tests/support/tasks.py" in own
        assert own.endswith("JSONDecodeError: Expecting value: line 1 column 1 (char 0)\n")
        assert re.findall(r"<details( open)?>\s*<summary>([^<]+)", timeline(page)) == [
            (" open", "My code"),
            ("", "Full traceback"),
        ]

    def test_shows_one_without_foreign_frames_once(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        page = raw(admin_client, page_of(result))

        [attempt] = driver.attempts(result)
        [whole] = re.findall(r'<pre class="rt-traceback"[^>]*>(.*?)</pre>', page, re.DOTALL)
        assert html.unescape(whole) == attempt.traceback
        assert "django_retrytasks" not in whole

    def test_opens_that_of_the_last_attempt_alone(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        driver.attempt(result)

        first, second = timeline(raw(admin_client, page_of(result))).split("<li ")[1:]

        assert "<details open>" not in first
        assert second.count("<details open>") == 1

    def test_has_one_view_where_no_line_is_the_sites_own(
        self, driver: Driver, admin_client: Client
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        Attempt.objects.update(traceback="SyntaxError: no\n")

        text = shown(admin_client, page_of(result))

        assert " Traceback SyntaxError: no " in text
        assert "My code" not in text


class TestSchedule:
    @pytest.mark.parametrize(
        ("task", "sentences"),
        [
            (tasks.always_fails, ["1 5 s 5 s left", "2 10 s 15 s left", "3 20 s 35 s left"]),
            (tasks.echoes, ["1 2.5 to 5 s 5 s left"]),
            (tasks.echoes.using(max_retries=None), ["25 300 to 600 s ", "Retried for ever; the"]),
            (tasks.echoes.using(max_retries=26), ["The first 25 retries are shown."]),
            (tasks.fails_once_for_all, ["Schedule No retry follows a failure."]),
            (tasks.backs_off_by_its_errors, ["Its backoff is a function: it decides each wait"]),
            (
                tasks.echoes.using(retry_for=0.5),
                ["No retry begins later than 0.5 s after the first start."],
            ),
        ],
    )
    def test_is_that_of_the_policy_in_force(
        self, admin_client: Client, task: Any, sentences: list[str]
    ) -> None:
        text = shown(admin_client, page_of(task.enqueue()))

        assert [sentence for sentence in sentences if sentence not in text] == []

    def test_tells_which_retries_are_spent(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)

        text = shown(admin_client, page_of(result))

        assert "1 5 s 5 s spent 2 10 s 15 s left" in text

    def test_says_that_the_code_is_gone(self, admin_client: Client, settings: Any) -> None:
        settings.RETRYTASKS = {"POLICY": {"countdown": 7, "jitter": False}}
        result = tasks.always_fails.enqueue()
        Task.objects.filter(pk=result.id).update(name="gone.tasks.send")

        text = shown(admin_client, page_of(result))

        assert "1 7 s 7 s left" in text
        assert "Its code is not loaded here: this is the site's policy." in text

    def test_says_without_a_line_in_the_log_that_the_policy_is_not_valid(
        self, admin_client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = tasks.always_fails.using(max_retries=1).enqueue()
        Task.objects.filter(pk=result.id).update(options={"countdwn": 1})
        caplog.clear()

        text = shown(admin_client, page_of(result))

        assert "Its policy is no longer valid: this is the default policy." in text
        assert "Its code is not loaded here" not in text
        assert "1 2.5 to 5 s 5 s left" in text
        assert caplog.records == []


class TestWakeUp:
    def test_of_a_task_that_is_due_waits_for_a_cluster(self, admin_client: Client) -> None:
        text = shown(admin_client, page_of(tasks.succeeds.enqueue()))

        assert "Wake-up waits for a cluster to look " in text

    def test_of_a_retry_waits_until_it_is_due(self, driver: Driver, admin_client: Client) -> None:
        result = tasks.echoes.using(run_after=timedelta(seconds=60)).enqueue()

        text = shown(admin_client, page_of(result))

        assert re.search(r"Wake-up waits until [\d: -]{8,19} The row", text)

    def test_is_left_to_the_sweep_far_ahead(self, admin_client: Client) -> None:
        result = tasks.echoes.using(run_after=timedelta(days=1)).enqueue()

        text = shown(admin_client, page_of(result))

        assert "Wake-up none yet: the sweep writes one in time" in text

    def test_there_is_none_once_final(self, driver: Driver, admin_client: Client) -> None:
        [result] = fail(driver)

        assert "Wake-up - The row" in shown(admin_client, page_of(result))
