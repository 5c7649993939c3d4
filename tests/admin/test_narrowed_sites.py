"""Subclasses that show some Tasks only."""

from __future__ import annotations

import pytest
from django.test import Client

from django_retrytasks.models import FailureGroup, Operation, Pause, Status, Task
from tests.admin.pages import raw, text_of
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.sites")]


class TestNarrowed:
    @pytest.fixture
    def two(self, driver: Driver) -> tuple[Task, Task]:
        """A Task of the queue that a subclass is about, and one of another queue; both failed."""
        rows = [
            driver.task_in(Status.FAILED),
            driver.task_in(Status.FAILED),
        ]
        Task.objects.filter(pk=rows[0].pk).update(queue_name="orders")
        return driver.row(rows[0]), driver.row(rows[1])

    @pytest.mark.parametrize("name", ["queue", "scoped", "mixed"])
    def test_other_tasks_are_neither_seen_nor_changed(
        self, two: tuple[Task, Task], driver: Driver, operator: Client, name: str
    ) -> None:
        own, other = two
        url = f"/in/house/{name}/retrytasks/task/"

        shown = raw(operator, url)
        assert str(own.pk) in shown
        assert str(other.pk) not in shown
        # As the admin answers for a row that is not there.
        assert operator.get(f"{url}{other.pk}/change/").status_code == 302
        operator.post(f"{url}{other.pk}/do/discard/")
        both = {"_selected_action": [str(own.pk), str(other.pk)]}
        asked = operator.post(url, {"action": "discard", **both})
        assert "of 2 selected" in text_of(asked.content.decode())
        done = operator.post(f"{url}selected/discard/", both, follow=True)

        assert "1 Task discarded. 1 skipped: 1 gone." in text_of(done.content.decode())
        assert driver.row(own).status == Status.DISCARDED
        assert driver.row(other).status == Status.FAILED

    def test_an_operation_keeps_to_the_selection(
        self, two: tuple[Task, Task], driver: Driver, operator: Client
    ) -> None:
        own, other = two
        url = "/in/house/queue/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(own.pk)]}

        asked = operator.post(f"{url}?status=FAILED", data)["Location"]
        assert "queue_name=orders" in asked
        assert "Tasks 1 Oldest" in text_of(raw(operator, asked))
        # Forged: without what the subclass adds.
        operator.post(f"{url}all/discard/?status=FAILED")
        driver.run_internal()

        assert Operation.objects.get().selection == {"status": "FAILED", "queue_name": "orders"}
        assert driver.row(own).status == Status.DISCARDED
        assert driver.row(other).status == Status.FAILED

    @pytest.mark.parametrize("query", ["queue_name=default", "queue_name=default&status=FAILED"])
    def test_what_is_not_there_cannot_be_asked_for(
        self, two: tuple[Task, Task], operator: Client, query: str
    ) -> None:
        url = "/in/house/queue/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(f"{url}?{query}", data, follow=True)
        forged = operator.post(f"{url}all/discard/?{query}")

        assert "0 tasks" in text_of(raw(operator, f"{url}?{query}")).lower()
        assert "Here queue_name is 'orders', not 'default'" in text_of(told.content.decode())
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_what_the_list_leaves_out_is_not_changed(
        self, two: tuple[Task, Task], operator: Client
    ) -> None:
        url = "/in/house/internal/retrytasks/task/"
        assert Task.objects.filter(internal=True).exists()

        assert "0 tasks" in text_of(raw(operator, url)).lower()
        assert operator.post(f"{url}all/discard/").status_code == 400
        assert operator.post(f"{url}all/discard/?internal=yes").status_code == 302

        assert Operation.objects.get().selection == {"internal": "yes"}

    @pytest.mark.parametrize("name", ["scoped", "mixed"])
    def test_a_queryset_that_no_selection_tells_is_not_for_all_that_match(
        self, two: tuple[Task, Task], operator: Client, name: str
    ) -> None:
        url = f"/in/house/{name}/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(url, data, follow=True)
        forged = operator.post(f"{url}all/discard/")

        assert "get_queryset narrows the list: define get_selection instead" in text_of(
            told.content.decode()
        )
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_a_task_that_may_not_be_viewed_is_not_changed(
        self, two: tuple[Task, Task], driver: Driver, operator: Client
    ) -> None:
        own, other = two
        url = "/in/house/discreet/retrytasks/task/"
        both = {"_selected_action": [str(own.pk), str(other.pk)]}

        assert operator.get(f"{url}{other.pk}/change/").status_code == 403
        assert operator.get(f"{url}{other.pk}/do/discard/").status_code == 403
        assert operator.post(f"{url}{other.pk}/do/discard/").status_code == 403
        assert operator.post(f"{url}selected/discard/", both).status_code == 403
        assert operator.post(url, {"action": "discard", **both}).status_code == 403
        operator.post(f"{url}{own.pk}/do/discard/")

        assert driver.row(other).status == Status.FAILED
        assert driver.row(own).status == Status.DISCARDED

    def test_a_search_of_the_sites_own_is_not_for_all_that_match(
        self, two: tuple[Task, Task], operator: Client
    ) -> None:
        url = "/in/house/searching/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(f"{url}?q=orders", data, follow=True)
        forged = operator.post(f"{url}all/discard/?search=orders")

        assert "get_search_results: an operation cannot repeat" in text_of(told.content.decode())
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_a_search_that_finds_nothing_begins_no_operation(self, operator: Client) -> None:
        url = "/in/house/ops/retrytasks/task/all/discard/?search=nowhere"

        assert operator.post(url).status_code == 400
        assert not Operation.objects.exists()

    def test_of_a_group_and_a_pause_that_may_not_be_viewed_nothing_is_said(
        self, failed: Task, operator: Client
    ) -> None:
        group, pause = FailureGroup.objects.get(), Pause.objects.get()
        pages = "/in/house/discreet/retrytasks/"
        mute = {"action": "mute", "_selected_action": [str(group.pk)]}
        resume = {"action": "resume", "_selected_action": [str(pause.pk)]}

        answers = [
            operator.post(f"{pages}failuregroup/{group.pk}/say/mute/"),
            operator.post(f"{pages}failuregroup/", mute),
            operator.post(f"{pages}pause/{pause.pk}/resume/"),
            operator.post(f"{pages}pause/", resume),
        ]

        assert [answer.status_code for answer in answers] == [403] * 4
        group.refresh_from_db()
        assert group.status == FailureGroup.Status.OPEN
        assert Pause.objects.exists()
