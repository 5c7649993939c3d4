"""What operators say of a failure group, and do with its Tasks."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.test import Client

from django_retrytasks.models import FailureGroup, Status, Task
from tests.admin.actions import logged, mood, sends, text_of
from tests.admin.pages import GROUPS, LIST, user_who_may
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


class TestFailureGroup:
    def page(self, group: FailureGroup) -> str:
        return f"{GROUPS}{group.pk}/change/"

    def say(self, client: Client, group: FailureGroup, word: str) -> Any:
        return client.post(f"{GROUPS}{group.pk}/say/{word}/", {"reason": "known"}, follow=True)

    def test_its_buttons_are_those_that_change_something(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        def offered() -> list[str]:
            page = admin_client.get(self.page(group)).content.decode()
            return re.findall(rf'formaction="{GROUPS}{group.pk}/say/(\w+)/"', page)

        assert offered() == ["mute_for_an_hour", "mute_for_a_day", "mute", "resolve"]
        self.say(admin_client, group, "mute")
        assert offered() == ["resolve", "reopen"]
        self.say(admin_client, group, "resolve")
        assert offered() == ["mute_for_an_hour", "mute_for_a_day", "mute", "reopen"]

    @pytest.mark.parametrize(
        ("word", "status", "is_limited", "message"),
        [
            ("mute_for_an_hour", "MUTED", True, "Mute for an hour: known"),
            ("mute_for_a_day", "MUTED", True, "Mute for a day: known"),
            ("mute", "MUTED", False, "Mute until reopened: known"),
            ("resolve", "RESOLVED", False, "Resolve: known"),
        ],
    )
    def test_what_is_said_of_it_holds_and_is_logged(
        self,
        group: FailureGroup,
        admin_client: Client,
        word: str,
        status: str,
        is_limited: bool,
        message: str,
    ) -> None:
        assert "1 group changed." in text_of(self.say(admin_client, group, word))

        group.refresh_from_db()
        assert group.status == status
        assert (group.muted_until is not None) == is_limited
        assert [told for _, told in logged()] == [message]
        assert FailureGroup.objects.exclude(pk=group.pk).get().status == "OPEN"

        self.say(admin_client, group, "reopen")
        group.refresh_from_db()
        assert (group.status, group.muted_until) == ("OPEN", None)

    def test_what_is_said_from_the_list_is_logged_too(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        ids = [str(pk) for pk in FailureGroup.objects.values_list("pk", flat=True)]

        admin_client.post(GROUPS, {"action": "resolve", "index": "0", "_selected_action": ids})

        assert sorted(logged()) == sorted((pk, "Resolve") for pk in ids)

    def test_all_its_tasks_are_redriven(
        self, driver: Driver, group: FailureGroup, admin_client: Client
    ) -> None:
        page = admin_client.get(self.page(group)).content.decode()
        [url] = re.findall(rf'href="({LIST}all/redrive/[^"]+)"', page)
        mood["fails"] = False

        admin_client.post(html.unescape(url), {"reason": "mended"})
        driver.drain()

        rows = Task.objects.filter(name=sends.module_path)
        assert {task.status for task in rows} == {Status.SUCCEEDED}

    def test_who_may_view_alone_can_say_nothing(self, group: FailureGroup) -> None:
        client = user_who_may("view_failuregroup", "view_task")

        page = client.get(self.page(group)).content.decode()
        assert "rt-buttons" not in page
        for word in ("mute", "resolve", "reopen"):
            assert self.say(client, group, word).status_code == 403
        group.refresh_from_db()
        assert group.status == "OPEN"

    def test_it_is_posted_and_known(self, group: FailureGroup, admin_client: Client) -> None:
        assert admin_client.get(f"{GROUPS}{group.pk}/say/mute/").status_code == 405
        assert self.say(admin_client, group, "praise").status_code == 404
