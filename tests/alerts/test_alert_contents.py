"""What an alert tells beside its words: links, arguments, and all of it as JSON."""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.test import modify_settings

from tests.alerts.stage import (
    HERE,
    SINKS,
    SITE,
    Page,
    SMTPServerError,
    alerting,
    fail,
    iso,
    last_attempt,
)
from tests.alerts.stage import all_is_as_usual as all_is_as_usual
from tests.support.driver import Driver
from tests.support.http_receiver import Receiver
from tests.support.shop import heard, mood, sweep, the_group
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "alerts.md"
PASSWORD = "the-planted-password"


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
