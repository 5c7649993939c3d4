"""The alert and the pages about many causes at once."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.test import Client

from django_retrytasks.alerts import Alert
from django_retrytasks.alerts.notices import Notice, NoticeKind
from django_retrytasks.models import FailureGroup, Task
from tests.support.driver import Driver
from tests.support.floods import HERE, REASON, SINKS, SITE, breaks_at, flood_of
from tests.support.floods import many_may_fail as many_may_fail
from tests.support.http_receiver import receiving
from tests.support.shop import HEAR, sweep
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db


class TestLetter:
    def test_says_how_many_since_when_and_names_the_largest(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.RETRYTASKS["ALERTS"] = [HEAR, f"{SINKS}.mail_admins"]
        settings.TIME_ZONE = "UTC"
        alert = flood_of(driver)

        letter = mailoutbox[-1]
        [page] = [text for text, kind in letter.alternatives if kind == "text/html"]
        url = f"{SITE}/admin/retrytasks/failuregroup/?failing=yes"
        assert re.fullmatch(r"\[Django\] 2 more failure groups in \d+ s", letter.subject)
        assert letter.body.splitlines() == [
            alert.subject,
            "",
            f"Reason: {REASON}",
            "Failure groups: 2",
            f"Failures: 3 since {alert.since:%Y-%m-%d %H:%M:%S} UTC",
            f"2 times: ConnectionError in {HERE}.breaks_at · {alert.groups[0].origin}",
            f"1 time: ConnectionError in {HERE}.breaks_at · {alert.groups[1].origin}",
            f"Failure groups: {url}",
        ]
        assert f'<a href="{url}"' in page
        assert f">{REASON}</dd>" in page

    def test_leads_to_the_groups_that_fail(self, driver: Driver, admin_client: Client) -> None:
        alert = flood_of(driver)

        page = admin_client.get(str(alert.group_url).removeprefix(SITE)).content.decode()

        assert page.count("ConnectionError · t.s.f.breaks_at") == 5

    def test_is_json_that_names_its_groups(self, driver: Driver) -> None:
        alert = flood_of(driver)

        told = json.loads(json.dumps(alert.as_dict()))

        assert (told["kind"], told["group_count"]) == ("FLOOD", 2)
        assert (told["count"], told["new_count"], told["told_at"]) == (3, 3, None)
        assert [group["name"] for group in told["groups"]] == [f"{HERE}.breaks_at"] * 2
        assert (told["group"]["kind"], told["group"]["message"]) == ("RULE", REASON)
        assert (told["task"], told["attempt"]) == (None, None)

    def test_goes_to_a_chat(self, driver: Driver, settings: Any) -> None:
        with receiving() as receiver:
            chat = {"sink": f"{SINKS}.webhook", "url": receiver.url(), "form": "text"}
            settings.RETRYTASKS["ALERTS"] = [HEAR, chat]
            alert = flood_of(driver)

        text = receiver.posted[-1].content["text"]
        assert text.startswith(f"{alert.subject}\nReason: {REASON}\nFailure groups: 2\n")

    def test_waits_in_the_queue_of_what_failed(self, driver: Driver) -> None:
        breaks_at.using(queue_name="emails").enqueue_many([(n,) for n in range(12)])
        driver.drain()
        sweep(driver)

        sent = Task.objects.filter(internal=True, name__endswith="send_alert").order_by("-pk")
        assert sent[0].queue_name == "emails"

    def test_leaves_out_a_group_deleted_meanwhile(self, driver: Driver) -> None:
        alert = flood_of(driver)
        notice = Notice(
            kind=NoticeKind.FLOOD,
            fingerprint=alert.group.pk,
            sample_id=None,
            count=3,
            new_count=3,
            since=alert.since,
            told_at=None,
            at=alert.at,
            group_count=2,
            groups=[group.pk for group in alert.groups],
        )
        FailureGroup.objects.filter(pk=alert.groups[0].pk).delete()

        left = Alert.from_notice(notice, id="1").groups
        assert [group.pk for group in left] == [alert.groups[1].pk]


class TestPage:
    def test_of_a_group_says_that_an_alert_about_many_told_of_it(
        self, driver: Driver, admin_client: Client
    ) -> None:
        alert = flood_of(driver)

        page = admin_client.get(f"/admin/retrytasks/failuregroup/{alert.groups[0].pk}/change/")

        told = "The last alert was about many groups, when the count was 2."
        to_come = "The next failure alerts at once, or later in an alert about many groups."
        assert f"{told} {to_come}" in page.content.decode()

    def test_of_the_flood_says_how_often_it_alerts(
        self, driver: Driver, admin_client: Client
    ) -> None:
        flood_of(driver)

        page = admin_client.get(f"/admin/retrytasks/failuregroup/{FailureGroup.FLOOD}/change/")

        assert "It alerts at most once per ALERT_COOLDOWN." in page.content.decode()
