"""A re-drive from the admin with other arguments."""

from __future__ import annotations

import html
import json
import re
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from django_retrytasks import retry_task
from django_retrytasks.models import Status, Task
from tests.admin.actions import do_url, logged, text_of
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


@retry_task(max_retries=0, sensitive=("pin",))
def pays(amount: Any, pin: str = "") -> Any:
    if amount == 0:
        raise ValueError("nothing to pay")
    return amount


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
