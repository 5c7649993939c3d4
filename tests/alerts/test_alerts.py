"""Alerts: what they say, and how the sinks deliver it."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.db.models import F
from django.test import modify_settings
from django.utils import timezone

from django_retrytasks import lifecycle, retry_task, worker
from django_retrytasks.alerts import Alert, sinks
from django_retrytasks.alerts.notices import NoticeKind
from django_retrytasks.conf import Sink
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import Attempt, FailureGroup, Status, Task
from django_retrytasks.worker.attempt import AttemptRun
from tests.support.driver import Driver
from tests.support.http_receiver import (
    Answer,
    Receiver,
    endless_body,
    endless_head,
    garbage,
    nothing,
    status,
)

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

HERE = "tests.alerts.test_alerts"
SINKS = "django_retrytasks.alerts"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alerts.md"
SITE = "https://shop.example"
ERROR = f"{HERE}.SMTPServerError: 450 too busy"
PASSWORD = "the-planted-password"
URL = {"url": "https://shop.example"}
URL_SECRET = "the-planted-secret-of-a-url"
SIGNS = "whsec_dGhlLXBsYW50ZWQta2V5"
GROUP_TIMES = (
    "first_seen_at",
    "last_seen_at",
    "last_failed_at",
    "streak_started_at",
    "alerted_at",
    "resolved_at",
    "regressed_at",
)
mood: dict[str, Any] = {}
heard: list[Alert] = []


class SMTPServerError(Exception):
    """What a mail server answers with."""


@retry_task(max_retries=1, countdown=0)
def send_email(order: Any, *, password: str = "") -> None:
    if mood["fails"]:
        raise mood["error"].with_traceback(None)


def hear(alert: Alert) -> None:
    heard.append(alert)


async def hear_asynchronously(alert: Alert) -> None:
    heard.append(alert)


def hear_with(alert: Alert, *, level: str) -> None:
    heard.append(alert)


def break_down(alert: Alert) -> None:
    raise ConnectionError("the pager is away")


def alerting(*sinks: Any, **others: Any) -> dict[str, Any]:
    return {"ALERTS": list(sinks), "SITE_URL": f"{SITE}/", **others}


@pytest.fixture(autouse=True)
def _all_is_as_usual(settings: Any) -> None:
    settings.RETRYTASKS = alerting(f"{HERE}.hear", f"{SINKS}.mail_admins")
    settings.TIME_ZONE = "Europe/Vienna"
    mood.update(fails=True, error=SMTPServerError("450 too busy"))
    heard.clear()


def fail(driver: Driver, order: Any = 42, **kwargs: Any) -> Task:
    """Have a Task fail for good and what is to be told of it sent; return it."""
    result = send_email.enqueue(order, **kwargs)
    driver.drain()
    return driver.row(result)


def fail_with(driver: Driver, error: Exception) -> Alert:
    mood["error"] = error
    fail(driver)
    return heard[-1]


def recover(driver: Driver) -> None:
    """Let time go by without a failure, then have a Task succeed."""
    time_goes_by(timedelta(minutes=6))
    mood["fails"] = False
    fail(driver)
    sweep(driver)


def sweep(driver: Driver) -> None:
    worker.sweep()
    driver.drain()


def time_goes_by(span: timedelta) -> None:
    """Let time go by for failure groups and finished Tasks: what is stored moves back."""
    FailureGroup.objects.update(**{name: F(name) - span for name in GROUP_TIMES})
    Task.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - span)


def the_group() -> FailureGroup:
    group: FailureGroup = FailureGroup.objects.get()
    return group


def last_attempt(task: Task) -> Attempt:
    attempt = task.attempts.last()
    assert attempt is not None
    return attempt


def vienna(at: datetime | None) -> str:
    assert at is not None
    return at.astimezone(ZoneInfo("Europe/Vienna")).strftime("%Y-%m-%d %H:%M:%S %Z")


class Page(HTMLParser):
    """An HTML letter, and what a reader sees of it, line by line."""

    def __init__(self, letter: Any) -> None:
        super().__init__()
        [self.source] = [text for text, kind in letter.alternatives if kind == "text/html"]
        self.tags: list[str] = []
        self.styles: list[str] = []
        self.lines: list[str] = []
        self._href: str | None = None
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._href = dict(attrs).get("href")

    def handle_data(self, data: str) -> None:
        if not data.strip() or self.tags[-1] == "title":
            return
        if self.tags[-1] == "dd":
            self.lines[-1] += f": {data}"
        else:
            self.lines.append(data + (f": {self._href}" if self._href else ""))


def check_letter(letter: Any, *, subject: str, error: str, facts: list[str], task: Any) -> None:
    """Check all that a letter says, in plain text and as HTML.

    Args:
        task: the Task whose arguments and traceback it shows; None: it shows none.
    """
    trace = last_attempt(task).traceback if task else ""
    above = [error, ""] if error else []
    details = ["", "Arguments:", "    order = 42", "", *trace.splitlines()] if task else []
    details_of_page = ["Arguments", "order: 42", "Traceback", trace] if task else []

    assert letter.subject == f"[Django] {subject}"
    assert letter.body.splitlines() == [subject, "", *above, *facts, *details]
    assert Page(letter).lines == [subject, *above[:1], *facts, *details_of_page]


def where(task: Task) -> list[str]:
    """Return the lines that tell where a Task failed and why it is not retried."""
    attempt = last_attempt(task)
    return [
        f"Function: {HERE}.send_email",
        f"Task: {task.pk}",
        "Queue: default",
        f"Worker: {attempt.worker}",
        f"Failed at: {vienna(attempt.finished_at)}",
        "Stopped: MAX_RETRIES: max_retries reached (1 retry)",
    ]


def links(task: Task) -> list[str]:
    admin = f"{SITE}/admin/retrytasks"
    return [
        f"Failure group: {admin}/failuregroup/{the_group().pk}/change/",
        f"Latest task: {admin}/task/{task.pk}/change/",
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


class TestLinks:
    def test_lead_to_the_domain_of_the_sites_framework(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["SITE_URL"] = ""
        settings.SITE_ID = 1
        fail(driver)

        with modify_settings(INSTALLED_APPS={"append": "django.contrib.sites"}):
            from django.contrib.sites.models import SITE_CACHE, Site

            if admin.site.is_registered(Site):  # which would outlast the settings
                admin.site.unregister(Site)
            SITE_CACHE[1] = Site(domain="sites.example")
            url = heard[-1].group_url
            SITE_CACHE.clear()

        group = the_group()
        assert url == f"https://sites.example/admin/retrytasks/failuregroup/{group.pk}/change/"

    def test_are_left_out_where_the_site_is_not_known(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS["SITE_URL"] = ""

        fail(driver)

        [alert] = heard
        assert (alert.group_url, alert.task_url, alert.links) == (None, None, [])

    @pytest.mark.parametrize("urls", ["tests.support.third_party", "nowhere.at_all"])
    def test_are_left_out_where_the_admin_has_no_such_page(
        self, driver: Driver, settings: Any, urls: str, mailoutbox: list[Any]
    ) -> None:
        settings.ROOT_URLCONF = urls

        fail(driver)

        [alert] = heard
        assert (alert.group_url, alert.task_url) == (None, None)
        assert SITE not in mailoutbox[-1].body


class TestArguments:
    def test_are_shown_as_json(self, driver: Driver, mailoutbox: list[Any]) -> None:
        order = {"price": Decimal("9.90"), "on": datetime(2026, 3, 1, 12), "value": [None, "é"]}

        fail(driver, order)

        shown = 'order = {"price": "9.90", "on": "2026-03-01T12:00:00", "value": [null, "é"]}'
        assert f"\n    {shown}\n" in mailoutbox[-1].body

    def test_that_are_long_are_cut(self, driver: Driver) -> None:
        fail(driver, "x" * 5000)

        [(name, text)] = heard[-1].arguments
        assert name == "order"
        assert len(text) <= 1024
        assert "characters left out" in text

    def test_that_are_secret_are_in_no_sink(
        self,
        driver: Driver,
        settings: Any,
        receiver: Receiver,
        mailoutbox: list[Any],
        notified: list[Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="django_retrytasks")
        settings.RETRYTASKS = alerting(
            f"{SINKS}.mail_admins",
            {"sink": f"{SINKS}.mail", "to": ["ann@shop.example"]},
            {"sink": f"{SINKS}.webhook", "url": receiver.url()},
            {"sink": f"{SINKS}.webhook", "name": "chat", "url": receiver.url(), "form": "text"},
            {"sink": f"{SINKS}.apprise", "urls": ["planted://"]},
        )
        mood["error"] = SMTPServerError(f"wrong password: {PASSWORD}")

        fail(driver, password=PASSWORD)

        letters = [letter for letter in mailoutbox if "send_email failed" in letter.subject]
        sent = [
            "\n".join(record.getMessage() for record in caplog.records),
            *(f"{letter.subject} {letter.body} {Page(letter).source}" for letter in letters),
            *(posted.body.decode() for posted in receiver.posted),
            *map(str, notified),
        ]
        assert len(sent) == 1 + 2 + 2 + 1
        assert all("send_email failed" in text for text in sent)
        assert [text for text in sent if PASSWORD in text] == []
        assert '    password = "********' in letters[0].body


class TestAsDict:
    def test_says_all_in_json(self, driver: Driver) -> None:
        task = fail(driver)

        [alert] = heard
        group, attempt = the_group(), last_attempt(task)
        assert json.loads(json.dumps(alert.as_dict())) == {
            "id": alert.id,
            "kind": "FAILING",
            "subject": "send_email failed: SMTPServerError (attempt 2)",
            "is_regression": False,
            "count": 1,
            "new_count": 1,
            "since": iso(group.streak_started_at),
            "told_at": None,
            "at": iso(alert.at),
            "group_count": 1,
            "groups": [],
            "group": {
                "fingerprint": str(group.pk),
                "kind": "FAILURE",
                "status": "OPEN",
                "name": f"{HERE}.send_email",
                "exception_class_path": f"{HERE}.SMTPServerError",
                "origin": group.origin,
                "message": "450 too busy",
                "failure_count": 1,
                "first_seen_at": iso(group.first_seen_at),
                "last_failed_at": iso(group.last_failed_at),
                "url": f"{SITE}/admin/retrytasks/failuregroup/{group.pk}/change/",
            },
            "task": {
                "id": str(task.pk),
                "name": f"{HERE}.send_email",
                "queue_name": "default",
                "arguments": {"order": "42"},
                "stop_reason": "MAX_RETRIES",
                "url": f"{SITE}/admin/retrytasks/task/{task.pk}/change/",
            },
            "attempt": {
                "number": 2,
                "outcome": "FAILED",
                "finished_at": iso(attempt.finished_at),
                "worker": attempt.worker,
                "exception_class_path": f"{HERE}.SMTPServerError",
                "exception_message": "450 too busy",
                "traceback": attempt.traceback,
                "decision": "max_retries reached (1 retry)",
            },
        }

    def test_of_a_rule_has_no_task(self, driver: Driver, settings: Any) -> None:
        silence = {"rule": "silence", "name": f"{HERE}.send_email", "within": 60}
        settings.RETRYTASKS["ALERT_RULES"] = [silence]

        sweep(driver)

        found = heard[-1].as_dict()
        assert (found["task"], found["attempt"]) == (None, None)
        assert found["group"]["kind"] == "RULE"

    def test_has_the_keys_that_the_documentation_tells(self, driver: Driver) -> None:
        fail(driver)

        page = PAGE.read_text().partition("## Receive a webhook")[2]
        told = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)

        found = heard[-1].as_dict()
        parts = ("group", "task", "attempt")
        keys = [key for key in found if key not in parts]
        keys += [f"{part}.{key}" for part in parts for key in found[part]]
        assert told == keys


def iso(at: datetime | None) -> str:
    assert at is not None
    return at.astimezone(UTC).isoformat()


def deliveries(sink: str) -> list[Task]:
    """Return the internal Tasks that send to this sink, the first one first."""
    rows = Task.objects.filter(name="django_retrytasks.alerts.sending.send_alert").order_by("pk")
    return [row for row in rows if row.args[0] == sink]


def attempts_at(sink: str) -> list[Attempt]:
    """Return the attempts to send to this sink."""
    return list(Attempt.objects.filter(task__in=deliveries(sink)))


def outcomes(sink: str) -> list[tuple[str, str]]:
    """Return how the attempts to send to this sink ended, and the message of each error."""
    return [(attempt.outcome, attempt.exception_message) for attempt in attempts_at(sink)]


class TestSinks:
    def test_failures_are_logged_as_errors_and_recoveries_are_not(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, logger="django_retrytasks")
        fail(driver)
        recover(driver)

        told = [(r.levelname, r.message) for r in caplog.records if r.message.startswith("Alert")]
        assert told == [
            ("ERROR", "Alert: send_email failed: SMTPServerError (attempt 2)"),
            ("INFO", "Alert: send_email has recovered after 1 failure"),
        ]

    def test_mail_goes_to_those_who_are_named(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        to = ["ann@shop.example", "bob@shop.example"]
        settings.RETRYTASKS = alerting({"sink": f"{SINKS}.mail", "to": to})
        settings.DEFAULT_FROM_EMAIL = "tasks@shop.example"

        task = fail(driver)

        letter = mailoutbox[-1]
        assert (letter.to, letter.from_email) == (to, "tasks@shop.example")
        assert letter.subject == "send_email failed: SMTPServerError (attempt 2)"
        assert f"Task: {task.pk}" in letter.body
        assert f"Task: {task.pk}" in Page(letter).lines

    def test_any_callable_is_one_with_its_options(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = alerting(
            {"sink": f"{HERE}.hear_with", "name": "loud", "level": "high"},
            f"{HERE}.hear_asynchronously",
        )

        fail(driver)

        assert [alert.subject for alert in heard] == [heard[0].subject] * 2
        assert outcomes("loud") == outcomes(f"{HERE}.hear_asynchronously") == [("SUCCEEDED", "")]

    def test_one_that_always_fails_ends_in_the_log_and_tells_nobody(
        self, driver: Driver, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.RETRYTASKS = alerting(f"{HERE}.break_down", f"{HERE}.hear")

        fail(driver)
        sweep(driver)

        [delivery] = deliveries(f"{HERE}.break_down")
        assert (delivery.status, delivery.attempt_count) == (Status.FAILED, 21)
        assert f"Task failed: id={delivery.pk}" in caplog.text
        assert len(heard) == 1
        assert FailureGroup.objects.count() == 1
        # What announces the failure, and one for each sink.
        assert Task.objects.filter(internal=True).count() == 1 + 3


class TestWebhook:
    NAME = f"{SINKS}.webhook"

    @pytest.fixture(autouse=True)
    def _alone(self, settings: Any, receiver: Receiver) -> None:
        self.set_options(settings, url=receiver.url("/hook?key=1"))

    def set_options(self, settings: Any, **options: Any) -> None:
        settings.RETRYTASKS = alerting(f"{HERE}.hear", {"sink": self.NAME, **options})

    def test_posts_what_the_alert_says(self, driver: Driver, receiver: Receiver) -> None:
        fail(driver)

        [posted] = receiver.posted
        [delivery] = deliveries(self.NAME)
        assert posted.path == "/hook?key=1"
        assert posted.headers["Content-Type"] == "application/json"
        assert posted.content == {**heard[-1].as_dict(), "id": str(delivery.pk)}
        assert posted.headers["Webhook-Id"] == str(delivery.pk)
        assert "Webhook-Signature" not in posted.headers

    def test_refused_is_posted_again_with_the_same_id(
        self, driver: Driver, receiver: Receiver
    ) -> None:
        receiver.answers = [status(500), status(404)]

        fail(driver)

        assert len({posted.headers["Webhook-Id"] for posted in receiver.posted}) == 1
        assert outcomes(self.NAME) == [
            ("FAILED", "127.0.0.1 answered with status 500"),
            ("FAILED", "127.0.0.1 answered with status 404"),
            ("SUCCEEDED", ""),
        ]

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_follows_no_redirect(self, driver: Driver, receiver: Receiver, code: int) -> None:
        receiver.answers = [status(code, Location="/elsewhere")]

        fail(driver)

        assert [posted.path for posted in receiver.posted] == ["/hook?key=1"] * 2
        assert outcomes(self.NAME) == [
            ("FAILED", f"127.0.0.1 answered with status {code}"),
            ("SUCCEEDED", ""),
        ]

    def test_waits_as_long_as_it_is_asked_to(self, driver: Driver, receiver: Receiver) -> None:
        receiver.answers = [status(429, Retry_After="3000")]

        fail(driver)

        first = attempts_at(self.NAME)[0]
        assert first.next_run_after is not None
        assert first.next_run_after - first.finished_at >= timedelta(seconds=3000)

    @pytest.mark.parametrize("answer", [nothing, endless_head])
    def test_gives_up_when_its_time_is_over(
        self, driver: Driver, settings: Any, receiver: Receiver, answer: Answer
    ) -> None:
        self.set_options(settings, url=receiver.url(), timeout=0.3)
        receiver.answers = [answer]
        started = time.monotonic()

        fail(driver)

        assert time.monotonic() - started < 10
        assert outcomes(self.NAME) == [
            ("FAILED", "127.0.0.1 was not reached: TimeoutError"),
            ("SUCCEEDED", ""),
        ]

    def test_does_not_wait_for_a_body(self, driver: Driver, receiver: Receiver) -> None:
        receiver.answers = [endless_body]

        fail(driver)

        assert outcomes(self.NAME) == [("SUCCEEDED", "")]

    def test_as_text_is_what_slack_takes(
        self, driver: Driver, settings: Any, receiver: Receiver
    ) -> None:
        self.set_options(settings, url=receiver.url(), form="text")

        alert = fail_with(driver, ValueError("<!channel> & <b>"))

        [posted] = receiver.posted
        assert list(posted.content) == ["text"]
        assert posted.content["text"].split("\n") == [
            "send_email failed: ValueError (attempt 2)",
            "ValueError: &lt;!channel&gt; &amp; &lt;b&gt;",
            "",
            *(f"{label}: {value}" for label, value in [*alert.facts, *alert.links]),
        ]

    def test_keeps_its_url_and_its_key_to_itself(
        self,
        driver: Driver,
        settings: Any,
        receiver: Receiver,
        mailoutbox: list[Any],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        caplog.set_level(logging.DEBUG)
        urls = [
            receiver.url(f"/{URL_SECRET}"),
            receiver.url(f"/{URL_SECRET}?again"),
            f"http://127.0.0.1:1/{URL_SECRET}",
            f"http://{'a' * 64}.invalid/{URL_SECRET}",
            *wrong_urls(),
        ]
        settings.RETRYTASKS = alerting(
            f"{SINKS}.mail_admins",
            *(
                {"sink": self.NAME, "name": f"hook {n}", "url": url, "secret": SIGNS}
                for n, url in enumerate(urls)
            ),
        )
        receiver.answers = [status(500, Location=f"/{URL_SECRET}"), garbage(URL_SECRET)]

        send_email.using(max_retries=0).enqueue(42)
        while Task.objects.due().filter(attempt_count=0).exists():
            driver.run_due()

        # On a slow machine a retry of one may have come due as well.
        tried = [outcomes(f"hook {n}")[:1] for n in range(len(urls))]
        assert [len(each) for each in tried] == [1] * len(urls)
        assert sorted(tried[0] + tried[1]) == [
            ("FAILED", "127.0.0.1 answered with status 500"),
            ("FAILED", "127.0.0.1 was not reached: BadStatusLine"),
        ]
        assert tried[2] == [("FAILED", "127.0.0.1 was not reached: Connection refused")]
        assert {outcome for each in tried[3:] for outcome, _ in each} == {"FAILED"}
        rows = [list(model.objects.values_list()) for model in (Attempt, Task, FailureGroup)]
        letters = [f"{letter.subject} {letter.body} {Page(letter).source}" for letter in mailoutbox]
        assert "send_email failed" in caplog.text
        shown = f"{rows} {letters} {caplog.text}"
        assert URL_SECRET not in shown
        assert SIGNS not in shown


def wrong_urls() -> list[str]:
    return [
        f"ftp://127.0.0.1/{URL_SECRET}",
        f"file:///etc/{URL_SECRET}",
        f"//127.0.0.1/{URL_SECRET}",
        f"http:///{URL_SECRET}",
        f"http://127.0.0.1:port/{URL_SECRET}",
        f"http://127.0.0.1:65536/{URL_SECRET}",
        f"http://[127.0.0.1/{URL_SECRET}",
        f"http://127.0.0.1/ {URL_SECRET}",
        f"http://127.0.0.1/\r\n{URL_SECRET}",
        f"http://127.0.0.1/é{URL_SECRET}",
        f"http://ann:{URL_SECRET}@127.0.0.1/",
    ]


class TestApprise:
    NAME = f"{SINKS}.apprise"

    def set_urls(self, settings: Any, *urls: str) -> None:
        settings.RETRYTASKS = alerting(f"{HERE}.hear", {"sink": self.NAME, "urls": list(urls)})

    def test_sends_subject_and_summary(
        self, driver: Driver, settings: Any, notified: list[Any]
    ) -> None:
        self.set_urls(settings, "planted://")

        fail(driver)
        recover(driver)

        first, last = heard
        assert notified == [
            (first.subject, first.summary, "failure"),
            (last.subject, last.summary, "success"),
        ]

    def test_that_fails_is_tried_again(
        self, driver: Driver, settings: Any, notified: list[Any]
    ) -> None:
        self.set_urls(settings, "planted://", f"planted://fails/{URL_SECRET}")

        fail(driver)

        message = "apprise did not deliver to all urls: see the logger apprise for why"
        assert outcomes(self.NAME) == [("FAILED", message)] * 21
        assert len(notified) == 2 * 21

    def test_that_it_cannot_read_is_not_shown(
        self, driver: Driver, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.set_urls(settings, f"no url: {URL_SECRET}")

        fail(driver)

        assert set(outcomes(self.NAME)) == {("FAILED", "apprise cannot read urls[0]")}
        assert URL_SECRET not in caplog.text

    def test_that_is_not_installed_is_named(
        self, driver: Driver, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.set_urls(settings, "planted://")
        monkeypatch.setitem(sys.modules, "apprise", None)

        fail(driver)

        message = "apprise is not installed: pip install 'django-retrytasks[apprise]'"
        assert set(outcomes(self.NAME)) == {("FAILED", message)}


class TestCheck:
    @pytest.mark.parametrize(
        ("path", "options"),
        [
            ("log", {}),
            ("mail_admins", {}),
            ("mail", {"to": ["ann@shop.example"]}),
            ("mail", {"to": ("ann@shop.example",)}),
            ("webhook", {"url": "http://127.0.0.1:8000/hook?key=1"}),
            ("webhook", {"url": "https://[::1]/", "form": "text", "timeout": timedelta(seconds=2)}),
            ("webhook", {"url": "https://shop.example", "secret": "whsec_MfKQ9r8GKYqrTwj+"}),
            ("apprise", {"urls": ["json://127.0.0.1"]}),
        ],
    )
    def test_passes_what_a_sink_takes(self, path: str, options: dict[str, Any]) -> None:
        sinks.check(Sink(name="it", path=f"{SINKS}.{path}", options=options))

    def test_passes_a_callable_of_the_site(self) -> None:
        sinks.check(Sink(name="it", path=f"{HERE}.hear_with", options={"level": "high"}))

    @pytest.mark.parametrize(
        ("path", "options", "problem"),
        [
            ("nothing", {}, 'does not define a "nothing"'),
            ("sinks", {}, "not a callable"),
            ("log", {"level": "high"}, "unexpected keyword argument 'level'"),
            ("mail", {}, "missing a required.* argument: 'to'"),
            ("mail", {"to": "ann@shop.example"}, "to must be a list of addresses"),
            ("mail", {"to": []}, "to must be a list of addresses"),
            ("mail", {"to": [None]}, "to must be a list of addresses"),
            ("webhook", {"ulr": "https://shop.example"}, "missing a required.* argument: 'url'"),
            *(("webhook", {"url": url}, "url must be an http") for url in [None, *wrong_urls()]),
            ("webhook", {**URL, "form": "xml"}, r"form must be one of \('json', 'text'\)"),
            ("webhook", {**URL, "secret": ""}, "secret must be a text"),
            ("webhook", {**URL, "secret": b"key"}, "secret must be a text"),
            ("webhook", {**URL, "secret": "whsec_"}, "secret must be a text"),
            ("webhook", {**URL, "secret": URL_SECRET}, "This makes one: python -c "),
            ("webhook", {**URL, "secret": f"whsec_{URL_SECRET}"}, "secret must be a text"),
            ("webhook", {**URL, "timeout": 0}, "timeout must be above 0"),
            ("webhook", {**URL, "timeout": "10"}, "timeout must be seconds"),
            ("apprise", {"urls": "json://127.0.0.1"}, "urls must be a list"),
            ("apprise", {"urls": []}, "urls must be a list"),
            ("apprise", {"urls": ["json://ok", URL_SECRET]}, r"read urls\[1\]"),
            ("apprise", {"urls": [None]}, r"read urls\[0\]"),
        ],
    )
    def test_names_what_is_wrong(
        self,
        path: str,
        options: dict[str, Any],
        problem: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        usual = (
            {"url": "https://shop.example"} if path == "webhook" and "ulr" not in options else {}
        )
        sink = Sink(name="it", path=f"{SINKS}.{path}", options={**usual, **options})

        with pytest.raises((ImportError, TypeError, ValueError), match=problem) as caught:
            sinks.check(sink)

        assert URL_SECRET not in f"{caught.value} {caplog.text}"
