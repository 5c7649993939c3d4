"""Failure groups as the command and the admin show and change them."""

from __future__ import annotations

import html
import io
import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from django_retrytasks.lifecycle import groups
from django_retrytasks.management.terminal import moment
from django_retrytasks.models import FailureGroup, Task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.shop import HERE, fail, the_group
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db
GROUP = FailureGroup.Status


def told(*args: str) -> str:
    out = io.StringIO()
    call_command("retrytasks", *args, stdout=out)
    return out.getvalue()


class TestCommand:
    def test_the_groups_that_fail_are_listed(self, driver: Driver) -> None:
        fail(driver, 2)
        [_, line] = told("failures").splitlines()

        group = the_group()
        assert line.split() == [
            str(group.pk), "OPEN", "2",
            *moment(group.last_seen_at).split(),
            "ConnectionError", "in", f"{HERE}.sends",
        ]  # fmt: skip

    def test_one_that_is_over_is_listed_when_asked_for(self, driver: Driver) -> None:
        fail(driver)
        told("resolve", str(the_group().pk))

        assert len(told("failures").splitlines()) == 1
        assert len(told("failures", "--all").splitlines()) == 2

    def test_mute_for_a_while(self, driver: Driver) -> None:
        fail(driver)

        assert told("mute", str(the_group().pk), "--for", "60") == "1 muted, 0 skipped\n"

        until = the_group().muted_until
        assert until is not None
        assert timedelta(0) < until - timezone.now() < timedelta(minutes=1)

    def test_mute_then_reopen(self, driver: Driver) -> None:
        fail(driver)
        told("mute", str(the_group().pk))
        assert (the_group().status, the_group().muted_until) == (GROUP.MUTED, None)

        told("reopen", str(the_group().pk))

        assert the_group().status == GROUP.OPEN

    def test_one_that_is_not_there(self) -> None:
        with pytest.raises(CommandError, match=r"0 resolved, 1 skipped \(no such group\)"):
            told("resolve", str(uuid.uuid4()))


GROUPS = "/admin/retrytasks/failuregroup/"


def acted(client: Client, action: str, group: FailureGroup) -> str:
    """Do a list's action on a group as a browser does; return the page that follows."""
    form = {"action": action, "_selected_action": [str(group.pk)]}
    response = client.post(GROUPS, form, follow=True)
    assert response.status_code == 200
    return response.content.decode()


class TestAdmin:
    def test_the_list_tells_status_cause_count_and_times(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver, 3)

        page = admin_client.get(GROUPS).content.decode()

        for text in (
            "Open",
            "ConnectionError · t.s.s.sends",
            "tests.support.shop.sends: ",
            "ago",
        ):
            assert text in page
        assert '<td class="field-failure_count">3</td>' in page

    def test_the_page_shows_the_latest_traceback_and_leads_to_the_tasks(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver, 2)
        tasks.fails_once_for_all.enqueue()
        driver.drain()
        group = FailureGroup.objects.get(name=f"{HERE}.sends")

        page = admin_client.get(f"{GROUPS}{group.pk}/change/").content.decode()

        assert re.search(r"ConnectionError: refused for user[01]@example.com", html.unescape(page))
        link = f"/admin/retrytasks/task/?failure_group={group.pk}"
        assert link in page
        listed = admin_client.get(link).content.decode()
        assert listed.count("t.s.s.sends</span>") == 2
        assert "t.s.t.fails_once_for_all</span>" not in listed

    def test_a_rule_and_a_group_whose_sample_is_gone_have_pages(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)
        Task.objects.all().delete()
        now = timezone.now()
        rule = FailureGroup.objects.create(
            fingerprint=uuid.uuid4(), kind=FailureGroup.Kind.RULE, message="<b>too late</b>",
            first_seen_at=now, last_seen_at=now,
        )  # fmt: skip

        pages = [admin_client.get(f"{GROUPS}{pk}/change/") for pk in (rule.pk, the_failure().pk)]

        assert [page.status_code for page in pages] == [200, 200]
        assert "<b>too late" not in pages[0].content.decode()

    def test_its_actions_mute_resolve_and_reopen(
        self, driver: Driver, admin_client: Client
    ) -> None:
        fail(driver)

        assert "1 group changed." in acted(admin_client, "mute_for_a_day", the_group())
        until = the_group().muted_until
        assert until is not None
        assert timedelta(hours=23) < until - timezone.now() <= timedelta(days=1)
        acted(admin_client, "mute", the_group())
        assert (the_group().status, the_group().muted_until) == (GROUP.MUTED, None)
        assert "Resolved" in acted(admin_client, "resolve", the_group())
        assert the_group().status == GROUP.RESOLVED
        acted(admin_client, "reopen", the_group())
        assert the_group().status == GROUP.OPEN

    def test_who_may_only_look_has_no_action(
        self, driver: Driver, client: Client, django_user_model: Any
    ) -> None:
        fail(driver)
        viewer = django_user_model.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(Permission.objects.get(codename="view_failuregroup"))
        client.force_login(viewer)

        acted(client, "resolve", the_group())

        assert the_group().status == GROUP.OPEN
        assert 'value="resolve"' not in client.get(GROUPS).content.decode()

    def test_a_regression_is_called_one(self, driver: Driver, admin_client: Client) -> None:
        fail(driver)
        groups.resolve([the_group().pk])
        fail(driver)

        assert "Regressed" in admin_client.get(GROUPS).content.decode()


def the_failure() -> FailureGroup:
    group: FailureGroup = FailureGroup.objects.get(kind=FailureGroup.Kind.FAILURE)
    return group
