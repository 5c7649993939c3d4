"""A shop's mail that fails, and the alerts that are sent of it."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from django_retrytasks import retry_task
from django_retrytasks.alerts import Alert
from django_retrytasks.models import Attempt, Task
from tests.support import shop
from tests.support.driver import Driver
from tests.support.shop import HEAR, heard, mood, the_group
from tests.support.shop import shop_is_down as shop_is_down

HERE = "tests.alerts.stage"
SINKS = "django_retrytasks.alerts"
SITE = "https://shop.example"
ERROR = f"{HERE}.SMTPServerError: 450 too busy"
URL_SECRET = "the-planted-secret-of-a-url"


class SMTPServerError(Exception):
    """What a mail server answers with."""


@retry_task(max_retries=1, countdown=0)
def send_email(order: Any, *, password: str = "") -> None:
    if mood["fails"]:
        raise mood["error"].with_traceback(None)


async def hear_asynchronously(alert: Alert) -> None:
    heard.append(alert)


def hear_with(alert: Alert, *, level: str) -> None:
    heard.append(alert)


def break_down(alert: Alert) -> None:
    raise ConnectionError("the pager is away")


def alerting(*sinks: Any, **others: Any) -> dict[str, Any]:
    return {"ALERTS": list(sinks), "SITE_URL": f"{SITE}/", **others}


@pytest.fixture(autouse=True)
def all_is_as_usual(shop_is_down: None, settings: Any) -> None:
    settings.RETRYTASKS = alerting(HEAR, f"{SINKS}.mail_admins")
    settings.TIME_ZONE = "Europe/Vienna"
    mood["error"] = SMTPServerError("450 too busy")


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
    """Have a Task succeed after six quiet minutes, and the sweep find it."""
    shop.recover(driver, send_email, 42)


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


def sent_to(sink: str) -> list[tuple[str, str]]:
    """Return how the attempts to send to this sink ended, and the message of each error."""
    return [(attempt.outcome, attempt.exception_message) for attempt in attempts_at(sink)]


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
