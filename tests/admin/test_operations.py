"""What operators do with all Tasks that match: an operation, and its page."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from django_retrytasks.models import FailureGroup, Operation, Status, Task
from django_retrytasks.operators import operations
from tests.admin.actions import OPERATIONS, choose, logged, mood, sends, text_of
from tests.admin.pages import LIST, user_who_may
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


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

    @pytest.mark.parametrize(
        ("term", "count"),
        [
            ("refused", 3),
            ("error: refused", 3),
            ("tests.admin.actions.sends", 3),
            ("fails_once_for_all", 1),
            ("Connection", 3),
        ],
    )
    def test_of_a_search_it_changes_what_the_list_shows(
        self, driver: Driver, group: FailureGroup, admin_client: Client, term: str, count: int
    ) -> None:
        shown = admin_client.get(f"{LIST}?q={term}").context["cl"].result_list
        wanted = {task.pk for task in shown}

        self.start(admin_client, "discard", f"?q={term}")
        driver.drain()

        changed = Task.objects.filter(status=Status.DISCARDED)
        assert set(changed.values_list("pk", flat=True)) == wanted
        assert len(wanted) == Operation.objects.get().done_count == count

    def test_of_a_search_by_key_and_a_filter_it_changes_what_both_hold_for(
        self, driver: Driver, admin_client: Client
    ) -> None:
        one, other = (tasks.ships.enqueue("A-7", fails=True) for _ in range(2))
        tasks.ships.enqueue("B-8", fails=True)
        driver.run_due()
        Task.objects.filter(pk=other.id).update(queue_name="mail")

        self.start(admin_client, "discard", "?q=A-7&queue_name=mail")
        driver.drain()

        [discarded] = Task.objects.filter(status=Status.DISCARDED)
        assert str(discarded.pk) == other.id
        assert driver.row(one).status == Status.FAILED

    def test_a_page_that_asks_takes_a_search(
        self, group: FailureGroup, admin_client: Client
    ) -> None:
        page = text_of(admin_client.get(f"{LIST}all/redrive/?search=refused"))

        assert "Tasks 3 Oldest" in page

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
