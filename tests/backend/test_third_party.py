"""Tasks of other packages, and functions that django-q2 runs itself."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django_q.tasks import async_task, fetch
from pytest_django import Settings

from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.values.contract import Task
from tests.backend.aliases import FOREIGN, configure, task
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


class TestThirdParty:
    @pytest.fixture(autouse=True)
    def _policy(self, settings: Settings) -> None:
        configure(settings, default={"OPTIONS": {"max_retries": 3, "countdown": 5}})

    def test_a_task_that_knows_nothing_of_retries_is_retried(self, driver: Driver) -> None:
        result = plain.breaks.enqueue()

        driver.drain()

        row = driver.row(result)
        assert (row.status, row.retry_count, row.attempt_count) == (Status.FAILED, 3, 4)
        assert len(driver.attempts(result)) == 4

    def test_a_coroutine_runs(self, driver: Driver) -> None:
        result = async_to_sync(plain.fetches.aenqueue)("/")

        driver.run_due()

        value: Any = plain.fetches.get_result(result.id).return_value
        assert value == "fetched /"

    def test_one_made_before_the_site_chose_our_backend_is_taken_too(
        self, settings: Settings, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = settings.TASKS
        configure(settings, default={"BACKEND": FOREIGN})
        early = task(plain.breaks.func)
        assert type(early) is Task
        monkeypatch.setattr(plain, "breaks", early)
        settings.TASKS = ours

        result = early.enqueue()
        driver.drain()

        assert driver.row(result).attempt_count == 4
        assert len(driver.attempts(result)) == 4


class TestBesideAsyncTask:
    def test_a_package_of_django_q2_calls_the_function_that_is_decorated_by_now(self) -> None:
        package = async_task("tests.support.tasks.echoes", 5, other=6, sync=True, save=True)

        assert fetch(package).result == [5, 6]
        assert not Row.objects.exists()

    def test_a_function_that_async_task_runs_may_enqueue(self) -> None:
        package = async_task(
            "tests.backend.test_third_party.enqueues_receipts", sync=True, save=True
        )

        assert fetch(package).success
        assert [row.args for row in Row.objects.order_by("pk")] == [[1], [2]]


def enqueues_receipts() -> None:
    for order_id in (1, 2):
        plain.sends_receipt.enqueue(order_id)
