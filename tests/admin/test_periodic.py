"""Periodic Tasks in the admin: what each shows, run now, and the switch."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_retrytasks.lifecycle.periodic import switch_off
from django_retrytasks.models import PeriodicTask, Status
from tests.admin.actions import logged, text_of
from tests.admin.pages import user_who_may
from tests.support.declarations import come, declared, enqueued, pass_time, row_of
from tests.support.driver import Driver
from tests.support.unique import imports_feed
from tests.tasks.secret_arguments import refund

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("_no_alerts", "no_declarations"),
]
PERIODIC = "/admin/retrytasks/periodictask/"


def page_of(row: PeriodicTask, page: str = "change") -> str:
    return f"{PERIODIC}{row.pk}/{page}/"


class TestList:
    def test_each_shows_its_calendar_its_runs_and_what_became_of_them(
        self, driver: Driver, admin_client: Client
    ) -> None:
        declared("the report", every=timedelta(days=300), args=["secret"])
        pass_time()
        come(driver)
        declared("weekdays", cron="0 3 * * 1-5", args=[1])
        [task] = enqueued()

        response = admin_client.get(PERIODIC)

        page = text_of(response)
        assert "On the report t.s.t.echoes every 300 d" in page
        assert "On weekdays t.s.t.echoes 0 3 * * 1-5" in page
        assert f'<a href="/admin/retrytasks/task/{task.pk}/change/">' in response.content.decode()
        assert page.count("Succeeded") == 1

    def test_its_cost_does_not_grow_with_the_rows(
        self, driver: Driver, admin_client: Client
    ) -> None:
        def queries() -> int:
            with CaptureQueriesContext(
                connection,
            ) as captured:
                admin_client.get(PERIODIC)
            return len(captured)

        declared("first")
        pass_time()
        come(driver)
        admin_client.get(PERIODIC)
        one = queries()
        for number in range(10):
            declared(f"number {number}")
        pass_time()
        come(driver)

        assert queries() == one

    def test_one_whose_task_has_been_pruned_is_shown_without_it(
        self, driver: Driver, admin_client: Client
    ) -> None:
        declared()
        pass_time()
        come(driver)
        enqueued()[0].attempts.all().delete()
        enqueued()[0].delete()

        assert "Succeeded" not in text_of(admin_client.get(PERIODIC))
        assert "report" in text_of(admin_client.get(page_of(row_of())))

    def test_one_that_is_off_or_cannot_be_read_has_no_next_run(self, admin_client: Client) -> None:
        switch_off(declared("off").pk)
        declared("wrong")
        PeriodicTask.objects.filter(name="wrong").update(cron="nonsense", every=None)
        declared("never")
        PeriodicTask.objects.filter(name="never").update(every=0)

        page = text_of(admin_client.get(PERIODIC))

        assert "Off off t.s.t.echoes every 300 d - - -" in page
        assert "On wrong t.s.t.echoes nonsense - - -" in page
        assert "On never t.s.t.echoes every " in page


class TestPage:
    def test_arguments_are_shown_and_secrets_are_not(self, admin_client: Client) -> None:
        row = declared(task=refund, args=[42, "hunter2"])

        page = text_of(admin_client.get(page_of(row)))

        assert "42" in page
        assert "hunter2" not in page

    def test_run_now_enqueues_it_by_the_public_door_and_leaves_its_moments(
        self, driver: Driver, admin_client: Client
    ) -> None:
        row = declared(args=["by hand"])

        page = text_of(admin_client.post(page_of(row, "run"), {"reason": "asked"}, follow=True))

        assert "Enqueued: report." in page
        [task] = enqueued()
        assert (task.args, task.status) == (["by hand"], Status.PENDING)
        assert (row_of().last_task, row_of().last_run_at) == (task, None)
        assert logged() == [(str(row.pk), "Run now: asked")]
        assert "Run now: asked" in page

    def test_run_now_of_a_unique_task_that_is_unfinished_names_it(
        self, admin_client: Client
    ) -> None:
        row = declared(task=imports_feed, args=["feed"])
        first = imports_feed.enqueue("feed")

        page = text_of(admin_client.post(page_of(row, "run"), follow=True))

        assert f"Report: not enqueued, since Task {first.id} holds its unique key." in page
        assert "Enqueued" not in page
        assert ([str(task.pk) for task in enqueued(row.task_name)], logged()) == ([first.id], [])

    def test_run_now_of_a_task_whose_code_is_gone_tells_so(self, admin_client: Client) -> None:
        row = declared()
        PeriodicTask.objects.update(task_name="shop.tasks.gone")

        page = text_of(admin_client.post(page_of(row, "run"), follow=True))

        assert "Report: shop.tasks.gone cannot be imported" in page
        assert (enqueued(), logged()) == ([], [])

    def test_it_is_switched_off_and_on_with_a_reason(self, admin_client: Client) -> None:
        row = declared()

        off = admin_client.post(page_of(row, "switch_off"), {"reason": "it moves"}, follow=True)

        assert "Switched off: report." in text_of(off)
        assert (row_of().switched_off_by, row_of().reason) == ("admin", "it moves")
        assert page_of(row, "switch_on") in off.content.decode()
        on = admin_client.post(page_of(row, "switch_on"), {"reason": "it is back"}, follow=True)
        assert "Switched on: report." in text_of(on)
        assert row_of().switched_off_at is None
        assert [message for _, message in logged()] == [
            "Switch off: it moves", "Switch on: it is back"
        ]  # fmt: skip

    def test_several_are_switched_from_the_list(self, admin_client: Client) -> None:
        ids = [str(declared(name).pk) for name in ("a", "b")]

        admin_client.post(PERIODIC, {"action": "switch_off", "index": 0, "_selected_action": ids})

        assert not PeriodicTask.objects.in_force().exists()
        assert len(logged()) == 2

    def test_a_retired_one_can_neither_run_nor_be_switched_there(
        self, admin_client: Client
    ) -> None:
        row = declared()
        PeriodicTask.objects.update(retired_at="2026-01-01 00:00Z")

        response = admin_client.get(page_of(row))
        admin_client.post(page_of(row, "run"))

        assert "Retired" in text_of(response)
        assert page_of(row, "run") not in response.content.decode()
        assert enqueued() == []


class TestPermissions:
    def test_who_may_view_alone_can_do_nothing(self) -> None:
        row = declared()
        client = user_who_may(
            "view_periodictask", "add_periodictask", "change_periodictask", "delete_periodictask"
        )

        assert "report" in text_of(client.get(PERIODIC))
        for page in ("run", "switch_off", "switch_on", "delete"):
            assert client.post(page_of(row, page), {"post": "yes"}).status_code == 403
        for action in ("run", "switch_off"):
            data: dict[str, Any] = {"action": action, "index": 0, "_selected_action": [row.pk]}
            client.post(PERIODIC, data)
        assert client.get(f"{PERIODIC}add/").status_code == 403

        assert (row_of().switched_off_at, enqueued()) == (None, [])

    @pytest.mark.parametrize(
        ("permission", "may", "may_not"),
        [("run_periodictask", "run", "switch_off"), ("switch_periodictask", "switch_off", "run")],
    )
    def test_each_permission_allows_its_own(self, permission: str, may: str, may_not: str) -> None:
        row = declared()
        client = user_who_may(permission)

        assert page_of(row, may) in client.get(page_of(row)).content.decode()
        assert page_of(row, may_not) not in client.get(page_of(row)).content.decode()
        assert client.post(page_of(row, may)).status_code == 302
        assert client.post(page_of(row, may_not)).status_code == 403

    def test_a_button_needs_a_post(self, admin_client: Client) -> None:
        assert admin_client.get(page_of(declared(), "run")).status_code == 405
        assert enqueued() == []
