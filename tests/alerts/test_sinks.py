"""The sinks of alerts, and the check of their options."""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks.alerts import sinks
from django_retrytasks.conf import Sink
from django_retrytasks.models import FailureGroup, Status, Task
from tests.alerts.stage import (
    HERE,
    SINKS,
    URL_SECRET,
    Page,
    alerting,
    deliveries,
    fail,
    recover,
    sent_to,
    wrong_urls,
)
from tests.alerts.stage import all_is_as_usual as all_is_as_usual
from tests.support.driver import Driver
from tests.support.shop import HEAR, heard, sweep
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
URL = {"url": "https://shop.example"}


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
        assert sent_to("loud") == sent_to(f"{HERE}.hear_asynchronously") == [("SUCCEEDED", "")]

    def test_one_that_always_fails_ends_in_the_log_and_tells_nobody(
        self, driver: Driver, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.RETRYTASKS = alerting(f"{HERE}.break_down", HEAR)

        fail(driver)
        sweep(driver)

        [delivery] = deliveries(f"{HERE}.break_down")
        assert (delivery.status, delivery.attempt_count) == (Status.FAILED, 21)
        assert f"Task failed: id={delivery.pk}" in caplog.text
        assert len(heard) == 1
        assert FailureGroup.objects.count() == 1
        # What announces the failure, and one for each sink.
        assert Task.objects.filter(internal=True).count() == 1 + 3


class TestApprise:
    NAME = f"{SINKS}.apprise"

    def set_urls(self, settings: Any, *urls: str) -> None:
        settings.RETRYTASKS = alerting(HEAR, {"sink": self.NAME, "urls": list(urls)})

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

        message = "apprise did not deliver to all urls: the logger apprise has the cause"
        assert sent_to(self.NAME) == [("FAILED", message)] * 21
        assert len(notified) == 2 * 21

    def test_that_it_cannot_read_is_not_shown(
        self, driver: Driver, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        self.set_urls(settings, f"no url: {URL_SECRET}")

        fail(driver)

        assert set(sent_to(self.NAME)) == {("FAILED", "apprise cannot read urls[0]")}
        assert URL_SECRET not in caplog.text

    def test_that_is_not_installed_is_named(
        self, driver: Driver, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.set_urls(settings, "planted://")
        monkeypatch.setitem(sys.modules, "apprise", None)

        fail(driver)

        message = "apprise is not installed: pip install 'django-retrytasks[apprise]'"
        assert set(sent_to(self.NAME)) == {("FAILED", message)}


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
