"""What the admin tells of unique Tasks, and of one that cannot run again."""

from __future__ import annotations

import pytest
from django.test import Client

from django_retrytasks.models import Status
from tests.admin.actions import choose, filled_in, text_of
from tests.admin.pages import page_of, shown
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.unique import greets, imports_feed, reminds, ships_once

pytestmark = pytest.mark.django_db


class TestTaskPage:
    def test_says_what_makes_it_unique_and_that_it_holds_its_key(
        self, driver: Driver, admin_client: Client
    ) -> None:
        by_order, by_all = ships_once.enqueue(1), imports_feed.enqueue("/a")
        by_text = greets.enqueue("ada")

        assert "Unique by order Unique key held" in shown(admin_client, page_of(by_order))
        assert "Unique by all arguments Unique key held" in shown(admin_client, page_of(by_all))
        assert "Unique by <lambda> Unique key held" in shown(admin_client, page_of(by_text))

        driver.run_due()
        assert "Unique by order Unique key free" in shown(admin_client, page_of(by_order))

    def test_says_until_when(self, driver: Driver, admin_client: Client) -> None:
        result = reminds.enqueue(1)
        driver.run_due()

        page = shown(admin_client, page_of(result))

        assert "Unique by order Unique key held" in page
        assert "Unique until" in page

    def test_never_shows_the_key(self, driver: Driver, admin_client: Client) -> None:
        result = ships_once.enqueue(1)

        key = driver.row(result).unique_key
        assert key is not None
        page = shown(admin_client, page_of(result))
        assert str(key) not in page
        assert key.hex not in page

    def test_of_another_task_says_nothing(self, admin_client: Client) -> None:
        assert "Unique" not in shown(admin_client, page_of(tasks.echoes.enqueue(1)))


def test_a_re_drive_that_is_refused_names_the_holder(driver: Driver, admin_client: Client) -> None:
    failed = [ships_once.enqueue(order, fails=True) for order in (1, 2)]
    driver.run_due()
    holder = ships_once.enqueue(1)
    rows = [driver.row(result) for result in failed]

    response = choose(admin_client, "redrive", rows)
    url = "/admin/retrytasks/task/selected/redrive/"
    page = text_of(admin_client.post(url, filled_in(response, reason=""), follow=True))

    assert "1 Task re-driven. 1 skipped: 1 Failed." in page
    assert f"Other Tasks hold their unique keys: {holder.id}." in page
    assert driver.row(failed[0]).status == Status.FAILED
