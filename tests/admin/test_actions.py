"""What operators do from the admin, as a browser sends it: who may, what changes, what is told."""

from __future__ import annotations

import html
import json
import re
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import django
import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.http import HttpRequest
from django.test import Client
from django.urls import path

from django_retrytasks import retry_task
from django_retrytasks.admin import FailureGroupAdmin, TaskAdmin
from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import FailureGroup, Operation, Pause, Status, Task
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

LIST = "/admin/retrytasks/task/"
GROUPS = "/admin/retrytasks/failuregroup/"
OPERATIONS = "/admin/retrytasks/operation/"
PAUSES = "/admin/retrytasks/pause/"
# The verbs, and a status in which each changes a Task.
VERBS = {
    "redrive": Status.FAILED,
    "run_now": Status.RETRYING,
    "snooze": Status.PENDING,
    "discard": Status.FAILED,
    "cancel": Status.RUNNING,
}
mood = {"fails": True}


class OwnTaskAdmin(TaskAdmin):
    def get_list_filter(self, request: HttpRequest) -> Any:
        return [*super().get_list_filter(request), "priority"]


own_site = admin.AdminSite(name="own")
own_site.register(Task, OwnTaskAdmin)
own_site.register(FailureGroup, FailureGroupAdmin)
urlpatterns = [path("own/", own_site.urls)]


@retry_task(max_retries=0)
def sends(number: int) -> None:
    if mood["fails"]:
        raise ConnectionError(f"refused: {number}")


@retry_task(max_retries=0, sensitive=("pin",))
def pays(amount: Any, pin: str = "") -> Any:
    if amount == 0:
        raise ValueError("nothing to pay")
    return amount


@pytest.fixture(autouse=True)
def _no_alerts(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": []}
    mood["fails"] = True


@pytest.fixture
def group(driver: Driver) -> FailureGroup:
    """Three Tasks that failed by one cause, and one by another."""
    sends.enqueue_many([(n,) for n in range(3)])
    tasks.fails_once_for_all.enqueue()
    driver.drain()
    group: FailureGroup = FailureGroup.objects.get(name=sends.module_path)
    return group


def user_who_may(*codenames: str) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    ours = Permission.objects.filter(content_type__app_label="retrytasks")
    user.user_permissions.set(ours.filter(codename__in=codenames))
    assert user.user_permissions.count() == len(codenames)
    client = Client()
    client.force_login(user)
    return client


def text_of(response: Any) -> str:
    """Return the text of a page, as it reads."""
    assert response.status_code == 200, response
    page = re.sub(r"<style.*?</style>|<script.*?</script>", "", response.content.decode())
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


def choose(client: Client, verb: str, chosen: Sequence[Task], query: str = "", **form: Any) -> Any:
    """Tick Tasks in the list, choose an action and press Go; return what comes."""
    ids = [str(task.pk) for task in chosen]
    data = {"action": verb, "index": "0", "select_across": "0", "_selected_action": ids, **form}
    return client.post(LIST + query, data)


def filled_in(response: Any, **form: Any) -> dict[str, Any]:
    """Return what a page's form sends: its hidden fields, and what is filled in."""
    hidden = re.findall(r'name="_selected_action" value="([^"]+)"', response.content.decode())
    return {"_selected_action": hidden, **form}


def offered(page: str, field: str) -> list[str]:
    """Return what a page suggests for a field, without a script."""
    assert f'list="rt-{field}"' in page
    [choices] = re.findall(rf'<datalist id="rt-{field}">(.*?)</datalist>', page, re.DOTALL)
    return re.findall(r'<option value="([^"]*)">', choices)


def target_of(response: Any) -> str:
    """Return where the form of a page that asks posts to."""
    found = re.search(r'<form method="post" action="([^"]+)"', response.content.decode())
    assert found
    return html.unescape(found.group(1))


def act(client: Client, verb: str, chosen: Sequence[Task], **form: Any) -> str:
    """Go the whole way from the list: tick, choose, confirm; return the page at its end."""
    asked = choose(client, verb, chosen)
    form = ({"countdown": "60"} if verb == "snooze" else {}) | form
    return text_of(client.post(target_of(asked), filled_in(asked, **form), follow=True))


def do_url(task: Task, verb: str) -> str:
    return f"{LIST}{task.pk}/do/{verb}/"


def logged() -> list[tuple[str, str]]:
    return [(str(e.object_id), e.change_message) for e in LogEntry.objects.order_by("pk")]


class TestSelection:
    def test_it_is_asked_first_with_count_oldest_and_names(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        chosen = list(Task.objects.filter(status=Status.FAILED))

        page = text_of(choose(admin_client, "redrive", chosen))

        assert "Failed Tasks run again" in page
        assert "Tasks 4 Oldest" in page
        assert "tests.admin.test_actions.sends 3 tests.support.tasks.fails_once_for_all 1" in page
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


class TestArguments:
    def failed(self, driver: Driver, *args: Any, **kwargs: Any) -> Task:
        result = pays.enqueue(*args, **kwargs)
        driver.drain()
        return driver.row(result)

    def shown(self, client: Client, task: Task, verb: str = "redrive") -> str:
        """Return the arguments that the page offers to change; "" where it offers none."""
        page = client.get(do_url(task, verb)).content.decode()
        found = re.search(r'<textarea name="arguments".*?>(.*?)</textarea>', page, re.DOTALL)
        return html.unescape(found.group(1)).strip() if found else ""

    def test_a_redrive_takes_changed_ones(self, driver: Driver, admin_client: Client) -> None:
        task = self.failed(driver, 0)
        assert json.loads(self.shown(admin_client, task)) == {"args": [0], "kwargs": {}}
        changed = {"args": [], "kwargs": {"amount": {"__type__": "Decimal", "value": "1.50"}}}

        form = {"arguments": json.dumps(changed), "reason": "was 0"}
        admin_client.post(do_url(task, "redrive"), form)
        driver.run_due()

        row = driver.row(task)
        assert (row.status, row.attempt_count) == (Status.SUCCEEDED, 2)
        assert row.return_value == Decimal("1.50")
        assert logged() == [(str(task.pk), "Re-drive (changed arguments): was 0")]

    def test_what_is_left_as_it_was_is_no_change(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = self.failed(driver, 0)
        shown = self.shown(admin_client, task)

        admin_client.post(do_url(task, "redrive"), {"arguments": shown.replace("\n", "\r\n")})

        assert driver.row(task).args == [0]
        assert logged() == [(str(task.pk), "Re-drive")]

    @pytest.mark.parametrize(
        ("given", "told"),
        [
            ("{", "Expecting property name"),
            ("[1]", 'Write {"args": [...], "kwargs": {...}}.'),
            ('{"args": [1], "kwargs": {}, "more": 1}', 'Write {"args"'),
            ('{"args": [], "kwargs": {}}', "pays(): missing a required argument: 'amount'"),
            ('{"args": [1], "kwargs": {"tip": 2}}', "unexpected keyword argument 'tip'"),
            ('{"args": [{"__type__": "Decimal", "value": "x"}], "kwargs": {}}', "InvalidOperation"),
            ("[" * 60_000, "recursion"),
        ],
    )
    def test_what_the_function_cannot_take_is_told_and_changes_nothing(
        self, driver: Driver, admin_client: Client, given: str, told: str
    ) -> None:
        task = self.failed(driver, 0)

        page = text_of(admin_client.post(do_url(task, "redrive"), {"arguments": given}))

        assert told in page
        row = driver.row(task)
        assert (row.status, row.args) == (Status.FAILED, [0])

    def test_none_are_offered_where_one_is_secret_or_the_verb_is_another(
        self, driver: Driver, admin_client: Client
    ) -> None:
        secret, plain = self.failed(driver, 0, pin="7391"), self.failed(driver, 0)

        assert self.shown(admin_client, secret) == ""
        assert self.shown(admin_client, plain, "discard") == ""
        form = {"arguments": '{"args": [9], "kwargs": {}}'}
        admin_client.post(do_url(secret, "redrive"), form)

        assert driver.row(secret).args == [0]

    def test_none_are_offered_where_the_code_is_gone(
        self, driver: Driver, admin_client: Client
    ) -> None:
        task = self.failed(driver, 0)
        Task.objects.filter(pk=task.pk).update(name="tests.gone.away")

        assert self.shown(admin_client, task) == ""


class TestAllThatMatch:
    def start(self, client: Client, verb: str, query: str, **form: Any) -> Any:
        """Tick all, choose "Select all", the action, and confirm; return the last answer."""
        first = list(Task.objects.order_by("pk")[:1])
        asked = choose(client, verb, first, query, select_across="1")
        assert asked.status_code == 302, asked
        return client.post(asked["Location"], form)

    def test_an_operation_does_it_and_leads_to_its_page(
        self, driver: Driver, group: FailureGroup, admin_client: Client
    ) -> None:
        mood["fails"] = False

        query = f"?status=FAILED&name={sends.module_path}"
        response = self.start(admin_client, "redrive", query, reason="server is back", canary="2")

        operation = Operation.objects.get()
        assert response["Location"] == f"{OPERATIONS}{operation.pk}/change/"
        assert operation.selection == {"status": "FAILED", "name": sends.module_path}
        assert (operation.started_by, operation.reason) == ("admin", "server is back")
        assert (operation.canary, operation.per_minute, operation.matched_count) == (2, None, 3)
        assert logged() == [(str(operation.pk), "Re-drive (canary 2): server is back")]
        driver.drain()
        statuses = Task.objects.filter(internal=False).values_list("name", "status")
        assert sorted(statuses) == [
            *[(sends.module_path, "SUCCEEDED")] * 3,
            ("tests.support.tasks.fails_once_for_all", "FAILED"),
        ]
        assert "Done Re-drive: 3 of 3 done, 0 skipped" in text_of(
            admin_client.get(response["Location"])
        )

    def test_the_page_that_asks_offers_a_rate_and_a_canary(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        page = text_of(admin_client.get(f"{LIST}all/redrive/?name={sends.module_path}"))
        assert "Tasks 3 Oldest" in page
        assert "Per minute" in page
        assert "Canary" in page

        page = text_of(admin_client.get(f"{LIST}all/discard/"))
        assert "Tasks 4 Oldest" in page
        assert "Canary" not in page

    def test_a_count_that_is_capped_says_so(
        self, group: FailureGroup, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operations, "MATCH_LIMIT", 2)

        assert "Tasks 2 or more" in text_of(admin_client.get(f"{LIST}all/discard/"))

    def test_a_time_window_is_that_of_its_start(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        self.start(admin_client, "discard", "?within=hour")

        assert set(Operation.objects.get().selection) == {"since"}

    @pytest.mark.parametrize("query", ["naem=x", "status=FALED", "failure_group=x"])
    def test_what_cannot_be_selected_is_refused(self, admin_client: Client, query: str) -> None:
        assert admin_client.post(f"{LIST}all/discard/?{query}").status_code == 400
        assert not Operation.objects.exists()

    def test_numbers_out_of_range_are_told_in_the_form(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        url = f"{LIST}all/redrive/"

        page = text_of(admin_client.post(url, {"per_minute": "0", "canary": "501"}))

        assert "greater than or equal to 1" in page
        assert "less than or equal to 500" in page
        assert not Operation.objects.exists()

    def test_who_may_not_see_operations_is_led_to_the_list(self, group: FailureGroup) -> None:
        client = user_who_may("view_task", "discard_task")

        assert client.post(f"{LIST}all/discard/")["Location"] == LIST
        assert Operation.objects.get().started_by == "ada"


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


class TestOperationPage:
    def test_it_shows_how_far_it_is_and_looks_again_while_it_runs(
        self, driver: Driver, group: FailureGroup, admin_client: Client
    ) -> None:
        operation = operations.start("DISCARD", {"status": "FAILED"}, by="ada", reason="old")
        url = f"{OPERATIONS}{operation.pk}/change/"

        response = admin_client.get(url)
        assert "Running Discard: 0 of 4 done, 0 skipped" in text_of(response)
        assert response["Refresh"] == "2"
        assert 'max="4" value="0"' in response.content.decode()
        assert "Refresh" not in admin_client.get(f"{url}?still")
        driver.drain()

        response = admin_client.get(url)
        page = text_of(response)
        assert "Done Discard: 4 of 4 done, 0 skipped" in page
        assert "ada" in page
        assert "old" in page
        assert 'max="4" value="4"' in response.content.decode()
        assert "Refresh" not in response
        assert "/stop/" not in response.content.decode()
        assert "4 of 4 done, 0 skipped" in text_of(admin_client.get(OPERATIONS))

    def test_it_is_stopped_once_with_a_reason(
        self, driver: Driver, group: FailureGroup, admin_client: Client
    ) -> None:
        operation = operations.start("DISCARD", {"status": "FAILED"})
        url = f"{OPERATIONS}{operation.pk}/stop/"
        assert url in admin_client.get(f"{OPERATIONS}{operation.pk}/change/").content.decode()

        page = text_of(admin_client.post(url, {"reason": "too many"}, follow=True))
        assert "The operation was stopped." in page
        assert "by admin: too many" in page
        assert "It was over already." in text_of(admin_client.post(url, follow=True))
        driver.drain()

        assert Task.objects.filter(status=Status.DISCARDED).count() == 0
        assert logged() == [(str(operation.pk), "Stop: too many")]

    def test_who_may_do_its_verb_may_stop_it(self, group: FailureGroup) -> None:
        operation = operations.start("DISCARD", {"status": "FAILED"})
        url = f"{OPERATIONS}{operation.pk}/stop/"

        client = user_who_may("view_operation", "redrive_task")
        assert url not in client.get(f"{OPERATIONS}{operation.pk}/change/").content.decode()
        assert client.post(url).status_code == 403
        client.logout()
        User.objects.all().delete()
        client = user_who_may("view_operation", "discard_task")
        assert client.post(url).status_code == 302

        operation.refresh_from_db()
        assert operation.status == Operation.Status.STOPPED

    def test_nothing_else_can_be_changed(self, group: FailureGroup, admin_client: Client) -> None:
        operation = operations.start("DISCARD", {"status": "FAILED"})

        for page in (f"{operation.pk}/change/", f"{operation.pk}/delete/", "add/"):
            assert admin_client.post(OPERATIONS + page, {"verb": "REDRIVE"}).status_code == 403
        assert admin_client.post(f"{OPERATIONS}{uuid.uuid4()}/stop/").status_code == 403


class TestPauses:
    def add(self, client: Client, **form: str) -> Any:
        return client.post(f"{PAUSES}add/", {"queue_name": "", "name": "", "reason": "", **form})

    @pytest.mark.parametrize(
        "what", [{"queue_name": "default"}, {"name": "tests.support.tasks.echoes"}]
    )
    def test_it_pauses_and_resumes_a_queue_or_a_function(
        self, driver: Driver, admin_client: Client, what: dict[str, str]
    ) -> None:
        assert self.add(admin_client, **what, reason="the server is down").status_code == 302

        pause = Pause.objects.get(**what)
        assert (pause.paused_by, pause.reason) == ("admin", "the server is down")
        task = tasks.echoes.enqueue(1)
        driver.run_due()
        assert driver.row(task).status == Status.PENDING
        [name] = what.values()
        assert name in text_of(admin_client.get(PAUSES))

        url = f"{PAUSES}{pause.pk}/resume/"
        assert url in admin_client.get(f"{PAUSES}{pause.pk}/change/").content.decode()
        page = text_of(admin_client.post(url, {"reason": "it is back"}, follow=True))
        assert f"Resumed: {name}." in page
        driver.run_due()

        assert driver.row(task).status == Status.SUCCEEDED
        assert [message for _, message in logged()] == [
            "Pause: the server is down", "Resume: it is back"
        ]  # fmt: skip

    def test_several_are_resumed_from_the_list(self, admin_client: Client) -> None:
        pauses.pause(queue_name="default")
        pauses.pause(name="tests.support.tasks.echoes")
        ids = [str(pk) for pk in Pause.objects.values_list("pk", flat=True)]

        admin_client.post(PAUSES, {"action": "resume", "index": "0", "_selected_action": ids})

        assert not Pause.objects.exists()
        assert len(logged()) == 2

    @pytest.mark.parametrize(
        "what", [{}, {"queue_name": "default", "name": "tests.support.tasks.echoes"}]
    )
    def test_one_of_the_two_is_asked_for(self, admin_client: Client, what: dict[str, str]) -> None:
        page = text_of(self.add(admin_client, **what))

        assert "Give either a queue or a function." in page
        assert "Constraint" not in page
        assert not Pause.objects.exists()

    def test_it_suggests_queues_that_hold_tasks_and_the_functions(
        self, admin_client: Client
    ) -> None:
        tasks.echoes.using(queue_name="letters").enqueue(1)

        page = admin_client.get(f"{PAUSES}add/").content.decode()

        assert offered(page, "queue_name") == ["letters"]
        assert "tests.support.tasks.echoes" in offered(page, "name")
        assert not [name for name in offered(page, "name") if "django_retrytasks" in name]

    def test_a_function_that_is_not_known_is_refused_with_the_nearest_ones(
        self, admin_client: Client
    ) -> None:
        page = text_of(self.add(admin_client, name="tests.support.tasks.ecoes"))

        assert "There is no such function. Did you mean tests.support.tasks.echoes" in page
        assert not Pause.objects.exists()

    def test_a_function_whose_code_is_gone_can_wait_while_it_has_tasks(
        self, admin_client: Client
    ) -> None:
        tasks.echoes.enqueue(1)
        Task.objects.update(name="gone.tasks.send")

        assert self.add(admin_client, name="gone.tasks.send").status_code == 302

        assert Pause.objects.get().name == "gone.tasks.send"

    def test_any_queue_can_wait_where_a_backend_takes_any(self, admin_client: Client) -> None:
        assert self.add(admin_client, queue_name="not yet used").status_code == 302

    def test_where_all_backends_name_theirs_another_queue_is_refused(
        self, admin_client: Client, settings: Any
    ) -> None:
        tasks.echoes.using(queue_name="holds").enqueue(1)
        ours = settings.TASKS["default"]
        settings.TASKS = {"default": {**ours, "QUEUES": ["default", "letters"]}}

        page = text_of(self.add(admin_client, queue_name="leters"))

        assert "There is no such queue. Did you mean letters?" in page
        for known in ("letters", "holds"):
            assert self.add(admin_client, queue_name=known).status_code == 302

    def test_what_is_paused_already_is_told(self, admin_client: Client) -> None:
        pauses.pause(queue_name="default", by="ada")

        assert "already exists" in text_of(self.add(admin_client, queue_name="default"))

        assert Pause.objects.get().paused_by == "ada"

    def test_who_may_view_alone_can_neither(self) -> None:
        pauses.pause(queue_name="default")
        pause = Pause.objects.get()
        client = user_who_may("view_pause", "add_pause", "change_pause", "delete_pause")

        assert "default" in text_of(client.get(PAUSES))
        assert self.add(client, queue_name="slow").status_code == 403
        assert client.post(f"{PAUSES}{pause.pk}/resume/").status_code == 403
        client.post(PAUSES, {"action": "resume", "index": "0", "_selected_action": [pause.pk]})
        assert client.post(f"{PAUSES}{pause.pk}/delete/", {"post": "yes"}).status_code == 403

        assert Pause.objects.get() == pause

    def test_its_own_permission_suffices(self) -> None:
        client = user_who_may("pause_task")

        self.add(client, queue_name="slow")
        assert "slow" in text_of(client.get(PAUSES))
        client.post(f"{PAUSES}{Pause.objects.get().pk}/resume/")

        assert not Pause.objects.exists()


@pytest.mark.urls("tests.admin.test_actions")
def test_another_site_leads_to_pages_of_its_own(
    driver: Driver, group: FailureGroup, admin_client: Client
) -> None:
    task = Task.objects.filter(name=sends.module_path).first()
    assert task is not None
    url = f"/own/retrytasks/task/{task.pk}/"

    assert f"{url}do/redrive/" in admin_client.get(f"{url}change/").content.decode()
    response = admin_client.post(f"{url}do/redrive/")
    assert response["Location"] == f"{url}change/"
    page = admin_client.get(f"/own/retrytasks/failuregroup/{group.pk}/change/").content.decode()
    assert "/own/retrytasks/task/all/redrive/" in page
    started = admin_client.post("/own/retrytasks/task/all/discard/")
    assert started["Location"] == "/own/retrytasks/task/"


@pytest.mark.urls("tests.admin.test_actions")
def test_a_filter_that_no_selection_can_say_is_told_not_ignored(
    group: FailureGroup, admin_client: Client
) -> None:
    task = str(Task.objects.order_by("pk")[0].pk)
    form = {"action": "discard", "index": "0", "select_across": "1", "_selected_action": task}

    url = "/own/retrytasks/task/?priority=0"
    page = text_of(admin_client.post(url, form, follow=True))

    assert "selection cannot contain priority" in page
    assert not Operation.objects.exists()
