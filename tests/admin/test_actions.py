"""What operators do with the Tasks that they ticked, or with one: who may, and what changes."""

from __future__ import annotations

import re

import django
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from django_retrytasks.models import FailureGroup, Operation, Status, Task
from tests.admin.actions import (
    VERBS,
    act,
    choose,
    do_url,
    filled_in,
    logged,
    sends,
    target_of,
    text_of,
)
from tests.admin.pages import LIST, user_who_may
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


class TestSelection:
    def test_it_is_asked_first_with_count_oldest_and_names(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        chosen = list(Task.objects.filter(status=Status.FAILED))

        page = text_of(choose(admin_client, "redrive", chosen))

        assert "Failed Tasks run again" in page
        assert "Tasks 4 Oldest" in page
        assert "tests.admin.actions.sends 3 tests.support.tasks.fails_once_for_all 1" in page
        assert "Per minute" not in page
        assert Task.objects.filter(status=Status.FAILED).count() == 4

    def test_what_was_chosen_is_changed_and_the_rest_is_not(
        self, driver: Driver, group: FailureGroup, admin_client: Client
    ) -> None:
        first, second, other = Task.objects.filter(name=sends.module_path).order_by("pk")

        page = act(admin_client, "redrive", [first, second], reason="server is back")

        assert "2 Tasks re-driven." in page
        assert "skipped" not in page
        assert driver.row(first).status == driver.row(second).status == Status.PENDING
        assert driver.row(other).status == Status.FAILED
        assert sorted(logged()) == [
            (str(first.pk), "Re-drive: server is back"),
            (str(second.pk), "Re-drive: server is back"),
        ]

    def test_what_was_skipped_is_told_with_why(self, driver: Driver, admin_client: Client) -> None:
        failed, running, gone = (
            driver.task_in(Status.FAILED),
            driver.task_in(Status.RUNNING),
            driver.task_in(Status.FAILED),
        )
        asked = choose(admin_client, "redrive", [failed, running, gone])
        assert "2 of 3 selected" in text_of(asked)
        Task.objects.filter(pk=gone.pk).delete()

        page = text_of(admin_client.post(target_of(asked), filled_in(asked), follow=True))

        assert "1 Task re-driven. 2 skipped: 1 Running, 1 gone." in page
        assert logged() == [(str(failed.pk), "Re-drive")]

    @pytest.mark.parametrize(
        ("verb", "becomes", "told"),
        [
            ("redrive", Status.PENDING, "1 Task re-driven."),
            ("run_now", Status.RETRYING, "1 Task made due."),
            ("snooze", Status.PENDING, "1 Task snoozed."),
            ("discard", Status.DISCARDED, "1 Task discarded."),
            ("cancel", Status.DISCARDED, "1 Task cancelled."),
        ],
    )
    def test_each_verb(
        self, driver: Driver, admin_client: Client, verb: str, becomes: Status, told: str
    ) -> None:
        task = driver.task_in(VERBS[verb])

        assert told in act(admin_client, verb, [task], reason="why")

        assert driver.row(task).status == becomes
        [(_, message)] = logged()
        assert message.endswith(": why")

    def test_a_cancel_is_signed_and_the_page_says_so(
        self, driver: Driver, admin_client: Client
    ) -> None:
        tasks.echoes.enqueue(1)
        [task] = driver.claim(limit=1).tasks

        act(admin_client, "cancel", [task], reason="wrong <b>file</b>")

        page = text_of(admin_client.get(f"/admin/retrytasks/task/{task.pk}/change/"))
        note = "cancelled by admin: wrong <b>file</b>"
        assert driver.row(task).stop_note == note
        assert re.search(rf"Attempt 1 of 4: {note}, \d+.s ago at", page)
        assert f"{note}; its end is not known yet" in page

    def test_snooze_needs_seconds_and_waits_so_long(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.PENDING)

        page = text_of(admin_client.post(do_url(task, "snooze"), {"reason": "x"}))
        assert "This field is required." in page
        before = driver.row(task).run_after
        assert before is not None
        act(admin_client, "snooze", [task], countdown="3600", reason="later")

        after = driver.row(task).run_after
        assert after is not None
        assert 3590 < (after - before).total_seconds() < 3660
        assert logged() == [(str(task.pk), "Snooze (countdown 3600): later")]

    def test_the_list_keeps_its_filters_afterwards(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        chosen = list(Task.objects.filter(status=Status.FAILED))
        asked = choose(admin_client, "discard", chosen, "?status=FAILED")

        response = admin_client.post(target_of(asked), filled_in(asked))

        assert response["Location"] == f"{LIST}?status=FAILED"

    def test_no_button_where_nothing_would_change(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.SUCCEEDED)

        page = choose(admin_client, "redrive", [task]).content.decode()

        assert 'type="submit" class="default"' not in page

    def test_one_that_is_sent_twice_is_changed_once(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.FAILED)
        form = {"_selected_action": [str(task.pk)] * 2}

        page = text_of(admin_client.post(f"{LIST}selected/discard/", form, follow=True))

        assert "1 Task discarded." in page
        assert "skipped" not in page

    def test_what_is_no_id_is_refused(self, admin_client: Client) -> None:
        response = admin_client.post(f"{LIST}selected/discard/", {"_selected_action": ["x"]})

        assert response.status_code == 400

    def test_a_get_changes_nothing(self, driver: Driver, admin_client: Client) -> None:
        task = driver.task_in(Status.FAILED)

        assert "Discard" in text_of(admin_client.get(do_url(task, "discard")))

        assert driver.row(task).status == Status.FAILED

    def test_a_request_from_elsewhere_is_refused(self, driver: Driver, admin_user: User) -> None:
        task = driver.task_in(Status.FAILED)
        client = Client(enforce_csrf_checks=True)
        client.force_login(admin_user)

        assert client.post(do_url(task, "discard")).status_code == 403
        assert driver.row(task).status == Status.FAILED


class TestPermissions:
    @pytest.mark.parametrize("verb", VERBS)
    def test_who_may_view_alone_sees_no_action_and_can_forge_none(
        self, driver: Driver, verb: str
    ) -> None:
        task = driver.task_in(VERBS[verb])
        others = [f"{other}_task" for other in VERBS if other != verb]
        client = user_who_may("view_task", *others)

        assert f'value="{verb}"' not in client.get(LIST).content.decode()
        assert do_url(task, verb) not in client.get(f"{LIST}{task.pk}/change/").content.decode()
        for url in (do_url(task, verb), f"{LIST}selected/{verb}/", f"{LIST}all/{verb}/"):
            form = {"_selected_action": [str(task.pk)], "countdown": "60"}
            assert client.post(url, form).status_code == 403
            assert client.get(url).status_code == 403
        choose(client, verb, [task])

        assert driver.row(task).status == VERBS[verb]
        assert not Operation.objects.exists()
        assert not LogEntry.objects.exists()

    @pytest.mark.parametrize("verb", VERBS)
    def test_its_own_permission_suffices(self, driver: Driver, verb: str) -> None:
        task = driver.task_in(VERBS[verb])
        client = user_who_may("view_task", f"{verb}_task")

        assert f'value="{verb}"' in client.get(LIST).content.decode()
        assert do_url(task, verb) in client.get(f"{LIST}{task.pk}/change/").content.decode()
        act(client, verb, [task])

        assert [pk for pk, _ in logged()] == [str(task.pk)]

    def test_who_may_not_view_is_shown_nothing(self, driver: Driver) -> None:
        task = driver.task_in(Status.FAILED)

        assert user_who_may("redrive_task").get(do_url(task, "redrive")).status_code == 403

    def test_there_are_no_other_verbs(self, driver: Driver, admin_client: Client) -> None:
        task = driver.task_in(Status.FAILED)

        assert admin_client.get(do_url(task, "destroy")).status_code == 404


class TestTaskPage:
    @pytest.mark.parametrize(
        ("status", "verbs"),
        [
            (Status.PENDING, {"run_now", "snooze", "discard", "cancel"}),
            (Status.RUNNING, {"cancel"}),
            (Status.FAILED, {"redrive", "discard"}),
            (Status.SUCCEEDED, set()),
        ],
    )
    def test_it_offers_what_its_status_allows(
        self, driver: Driver, admin_client: Client, status: Status, verbs: set[str]
    ) -> None:
        task = driver.task_in(status)

        page = admin_client.get(f"{LIST}{task.pk}/change/").content.decode()

        assert set(re.findall(rf'href="{LIST}{task.pk}/do/(\w+)/"', page)) == verbs

    def test_a_button_asks_and_leads_back_to_the_page(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.FAILED)
        asked = admin_client.get(do_url(task, "redrive"))

        response = admin_client.post(target_of(asked), filled_in(asked, reason="mended"))

        assert response["Location"] == f"{LIST}{task.pk}/change/"
        assert driver.row(task).status == Status.PENDING
        assert "Re-drive: mended" in text_of(admin_client.get(f"{LIST}{task.pk}/history/"))

    @pytest.mark.skipif(django.VERSION < (6, 1), reason="actions of a page came with Django 6.1")
    def test_django_offers_the_actions_there_by_itself(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = driver.task_in(Status.FAILED)
        form = {"CHANGE_FORM-action": "redrive", "_selected_action": str(task.pk), "index": "0"}

        asked = admin_client.post(f"{LIST}{task.pk}/change/", form)
        admin_client.post(target_of(asked), filled_in(asked))

        assert driver.row(task).status == Status.PENDING
