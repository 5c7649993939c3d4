"""The webhook that alerts are posted to."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks.models import Attempt, FailureGroup, Task
from tests.alerts.stage import (
    SINKS,
    URL_SECRET,
    Page,
    alerting,
    attempts_at,
    deliveries,
    fail,
    fail_with,
    send_email,
    sent_to,
    wrong_urls,
)
from tests.alerts.stage import all_is_as_usual as all_is_as_usual
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
from tests.support.shop import HEAR, heard
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
SIGNS = "whsec_dGhlLXBsYW50ZWQta2V5"


class TestWebhook:
    NAME = f"{SINKS}.webhook"

    @pytest.fixture(autouse=True)
    def _alone(self, settings: Any, receiver: Receiver) -> None:
        self.set_options(settings, url=receiver.url("/hook?key=1"))

    def set_options(self, settings: Any, **options: Any) -> None:
        settings.RETRYTASKS = alerting(HEAR, {"sink": self.NAME, **options})

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
        assert sent_to(self.NAME) == [
            ("FAILED", "127.0.0.1 answered with status 500"),
            ("FAILED", "127.0.0.1 answered with status 404"),
            ("SUCCEEDED", ""),
        ]

    @pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
    def test_follows_no_redirect(self, driver: Driver, receiver: Receiver, code: int) -> None:
        receiver.answers = [status(code, Location="/elsewhere")]

        fail(driver)

        assert [posted.path for posted in receiver.posted] == ["/hook?key=1"] * 2
        assert sent_to(self.NAME) == [
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
        assert sent_to(self.NAME) == [
            ("FAILED", "127.0.0.1 was not reached: TimeoutError"),
            ("SUCCEEDED", ""),
        ]

    def test_does_not_wait_for_a_body(self, driver: Driver, receiver: Receiver) -> None:
        receiver.answers = [endless_body]

        fail(driver)

        assert sent_to(self.NAME) == [("SUCCEEDED", "")]

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
        tried = [sent_to(f"hook {n}")[:1] for n in range(len(urls))]
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
