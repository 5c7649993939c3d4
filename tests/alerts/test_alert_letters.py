"""The letter that an alert is, in plain text and as HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.alerts.notices import NoticeKind
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import Task
from django_retrytasks.worker.attempt import AttemptRun
from tests.alerts.stage import (
    ERROR,
    HERE,
    SITE,
    Page,
    check_letter,
    fail,
    fail_with,
    iso,
    links,
    recover,
    send_email,
    vienna,
    where,
)
from tests.alerts.stage import all_is_as_usual as all_is_as_usual
from tests.support.driver import Driver
from tests.support.shop import heard, sweep, the_group, time_goes_by
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]


class TestLetters:
    def test_of_a_first_failure(self, driver: Driver, mailoutbox: list[Any]) -> None:
        task = fail(driver)

        check_letter(
            mailoutbox[-1],
            subject="send_email failed: SMTPServerError (attempt 2)",
            error=ERROR,
            facts=[
                *where(task),
                f"Failures: 1 since {vienna(the_group().streak_started_at)}",
                *links(task),
            ],
            task=task,
        )

    def test_of_failures_that_go_on(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.RETRYTASKS["ALERT_COOLDOWN"] = 600
        fail(driver)
        groups.mute([the_group().pk])
        send_email.enqueue_many([(42,)] * 135)
        driver.drain()
        time_goes_by(timedelta(minutes=12))
        groups.reopen([the_group().pk])

        task = fail(driver)

        since = vienna(the_group().streak_started_at)
        check_letter(
            mailoutbox[-1],
            subject="137 failures of send_email in 12 min: SMTPServerError (11 a minute)",
            error=ERROR,
            facts=[
                *where(task),
                f"Failures: 137 since {since} (11 a minute)",
                "New since the last alert: 136",
                *links(task),
            ],
            task=task,
        )

    def test_of_a_recovery(self, driver: Driver, mailoutbox: list[Any]) -> None:
        task = fail(driver)
        recover(driver)

        task.refresh_from_db()
        [alert] = heard[1:]
        check_letter(
            mailoutbox[-1],
            subject="send_email has recovered after 1 failure",
            error=ERROR,
            facts=[
                *where(task)[:3],
                f"Failures: 1 since {vienna(alert.since)}",
                f"Last failed at: {vienna(the_group().last_failed_at)}",
                f"Recovered at: {vienna(alert.at)}",
                *links(task),
            ],
            task=None,
        )

    def test_of_a_regression(self, driver: Driver, mailoutbox: list[Any]) -> None:
        fail(driver)
        groups.resolve([the_group().pk])

        task = fail(driver)

        check_letter(
            mailoutbox[-1],
            subject="send_email fails again after it was resolved: SMTPServerError (attempt 2)",
            error=ERROR,
            facts=[
                *where(task),
                f"Failures: 1 since {vienna(the_group().regressed_at)}",
                f"Was resolved at: {vienna(the_group().resolved_at)}",
                *links(task),
            ],
            task=task,
        )

    def test_of_a_breached_rule(self, driver: Driver, settings: Any, mailoutbox: list[Any]) -> None:
        silence = {"rule": "silence", "name": f"{HERE}.send_email", "within": 60}
        settings.RETRYTASKS["ALERT_RULES"] = [silence]

        sweep(driver)

        message = f"No Task of {HERE}.send_email has succeeded within 60 s"
        facts = [
            f"Function: {HERE}.send_email",
            f"Since: {vienna(the_group().streak_started_at)}",
            f"Failure group: {SITE}/admin/retrytasks/failuregroup/{the_group().pk}/change/",
        ]
        check_letter(mailoutbox[-1], subject=message, error="", facts=facts, task=None)

        recover(driver)

        assert mailoutbox[-1].subject == f"[Django] Recovered: {message}"

    def test_as_html_have_one_column_and_nothing_to_load(
        self, driver: Driver, mailoutbox: list[Any]
    ) -> None:
        fail(driver)

        page = Page(mailoutbox[-1])
        assert {"table", "img", "style", "script", "link"}.isdisjoint(page.tags)
        assert '<meta name="color-scheme" content="light dark">' in page.source
        assert set(re.findall(r"https?://[\w.]+", page.source)) == {SITE}


class TestWords:
    def test_a_subject_is_one_line(self, driver: Driver, mailoutbox: list[Any]) -> None:
        hostile = type("Broken\r\nBcc: all", (Exception,), {})

        fail_with(driver, hostile("two\nlines"))

        assert heard[-1].subject == "send_email failed: Broken Bcc: all (attempt 2)"
        assert "two\nlines" in mailoutbox[-1].body

    def test_html_is_escaped_and_plain_text_is_not(
        self, driver: Driver, mailoutbox: list[Any]
    ) -> None:
        hostile = "<script>alert(1)</script> & <img src=x>"

        fail_with(driver, ValueError(hostile))

        assert hostile in mailoutbox[-1].body
        page = Page(mailoutbox[-1])
        assert f"ValueError: {hostile}" in page.lines
        assert {"script", "img"}.isdisjoint(page.tags)

    def test_many_that_fail_at_once_are_counted(self, driver: Driver) -> None:
        send_email.using(max_retries=0).enqueue_many([(42,)] * 3)
        claimed = driver.claim(limit=3).tasks
        lifecycle.settle([AttemptRun(task, timezone.now).ending() for task in claimed])

        driver.drain()

        subjects = [alert.subject for alert in heard]
        assert subjects == ["send_email failed 3 times: SMTPServerError (attempt 1)"]

    @pytest.mark.parametrize(
        ("span", "count", "words"),
        [
            (timedelta(seconds=0), 10, "10 failures of send_email in 0 s: SMTPServerError"),
            (timedelta(seconds=59), 10, "10 failures of send_email in 59 s: SMTPServerError"),
            (timedelta(seconds=-5), 10, "10 failures of send_email in 0 s: SMTPServerError"),
            (timedelta(minutes=10), 5, "in 10 min: SMTPServerError (30 an hour)"),
            (timedelta(hours=3), 1000, "in 3 h: SMTPServerError (6 a minute)"),
            (timedelta(days=4), 10, "in 4 d: SMTPServerError (2 a day)"),
            (timedelta(days=40), 2, "in 40 d: SMTPServerError"),
        ],
    )
    def test_span_and_rate_are_told_in_fitting_units(
        self, driver: Driver, span: timedelta, count: int, words: str
    ) -> None:
        fail(driver)
        [alert] = heard

        later = replace(alert, kind=NoticeKind.STILL_FAILING, at=alert.since + span, count=count)

        assert later.subject.endswith(words)

    def test_a_pruned_task_is_told_of_by_its_group(
        self, driver: Driver, mailoutbox: list[Any]
    ) -> None:
        fail(driver)
        groups.mute([the_group().pk])
        fail(driver)
        Task.objects.all().delete()
        time_goes_by(timedelta(hours=2))
        groups.reopen([the_group().pk])

        sweep(driver)

        check_letter(
            mailoutbox[-1],
            subject="2 failures of send_email in 2 h: SMTPServerError (1 an hour)",
            error=ERROR,
            facts=[
                f"Function: {HERE}.send_email",
                f"Failures: 2 since {vienna(the_group().streak_started_at)} (1 an hour)",
                "New since the last alert: 1",
                f"Failure group: {SITE}/admin/retrytasks/failuregroup/{the_group().pk}/change/",
            ],
            task=None,
        )

    def test_times_of_a_site_without_time_zones_are_local(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.USE_TZ = False

        fail(driver)

        [alert] = heard
        since = alert.since.replace(tzinfo=ZoneInfo("Europe/Vienna"))
        assert f"Failures: 1 since {vienna(since)}" in alert.text
        assert alert.as_dict()["since"] == iso(since)

    def test_a_site_may_have_templates_of_its_own(
        self, driver: Driver, settings: Any, tmp_path: Path, mailoutbox: list[Any]
    ) -> None:
        own = tmp_path / "retrytasks" / "alerts" / "alert.txt"
        own.parent.mkdir(parents=True)
        own.write_text("Dear admin, {{ alert.group.name }} is ill.")
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

        fail(driver)

        assert mailoutbox[-1].body == f"Dear admin, {HERE}.send_email is ill."
        assert Page(mailoutbox[-1]).lines[0] == heard[-1].subject

    def test_a_site_without_templates_is_told_all_the_same(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.TEMPLATES = []

        fail(driver)

        assert mailoutbox[-1].body.startswith(heard[-1].subject)
        assert Page(mailoutbox[-1]).lines[0] == heard[-1].subject
