"""Tasks of ``@django.tasks.task``: they go where ``TASKS`` says, also once that has changed."""

from __future__ import annotations

from typing import Any

import django
import pytest
from django.utils.module_loading import import_string
from pytest_django import Settings

from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.testing import DummyBackend
from django_retrytasks.values.contract import TaskResultStatus, task_backends, task_finished
from tests.support import tasks
from tests.support.driver import Driver, received
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

CORE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
OURS = "django_retrytasks.backend.RetryTasksBackend"
OUR_DUMMY = "django_retrytasks.testing.DummyBackend"
task: Any = import_string(f"{CORE}.task")
FOREIGN_DUMMY = f"{CORE}.backends.dummy.DummyBackend"


def use(settings: Settings, backend: str) -> Any:
    """Name a backend in TASKS, under "default" and "mail"; return that of the former."""
    params = {"BACKEND": backend, "QUEUES": []}
    settings.TASKS = {"default": params, "mail": params}
    return task_backends["default"]


class TestSwitchedBackend:
    def test_takes_a_task_that_was_made_under_ours(self, settings: Settings) -> None:
        dummy = use(settings, FOREIGN_DUMMY)

        result = plain.sends_receipt.enqueue(7, copy=True)

        [kept] = dummy.results
        assert (kept.args, kept.kwargs, kept.id) == ([7], {"copy": True}, result.id)
        assert not Row.objects.exists()

    def test_takes_many_at_once(self, settings: Settings) -> None:
        dummy = use(settings, FOREIGN_DUMMY)
        sends_receipt: Any = plain.sends_receipt

        sends_receipt.enqueue_many([(7,), {"order_id": 8}])

        assert [(kept.args, kept.kwargs) for kept in dummy.results] == [
            ([7], {}),
            ([], {"order_id": 8}),
        ]

    def test_validates_by_its_own_rules(self, settings: Settings) -> None:
        use(settings, f"{CORE}.backends.immediate.ImmediateBackend")
        settings.TASKS = {**settings.TASKS, "default": {"BACKEND": FOREIGN_DUMMY}}

        with pytest.raises(Exception, match="Queue 'mail' is not valid for backend"):
            plain.sends_receipt.using(queue_name="mail")

    def test_leaves_a_retry_task_with_ours(self, settings: Settings, driver: Driver) -> None:
        dummy = use(settings, FOREIGN_DUMMY)

        result = tasks.echoes.enqueue(1)

        assert driver.row(result).status == Status.PENDING
        assert dummy.results == []

    def test_leaves_what_ours_has_stored_runnable(self, settings: Settings, driver: Driver) -> None:
        use(settings, OURS)
        result = plain.sends_receipt.using(backend="mail").enqueue(7)
        use(settings, FOREIGN_DUMMY)

        with received(task_finished) as finished:
            driver.run_due()

        assert driver.row(result).return_value == "receipt 7"
        assert [call["sender"] for call in finished] == [RetryTasksBackend]


class TestResult:
    def test_names_a_task_that_equals_the_one_enqueued(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        use(settings, FOREIGN_DUMMY)
        made = task(plain.breaks.func)
        monkeypatch.setattr(plain, "breaks", made)
        backend = use(settings, OURS)

        result = made.enqueue()

        assert result.task == made
        assert backend.get_result(result.id).task == made
        assert result.task.using(priority=3) == made.using(priority=3)


class TestDummyBackend:
    def test_keeps_the_result_and_returns_a_copy(self, settings: Settings) -> None:
        dummy: DummyBackend = use(settings, OUR_DUMMY)
        result = tasks.echoes.enqueue([1])

        result.args[0].append(2)
        object.__setattr__(dummy.results[0], "status", TaskResultStatus.SUCCESSFUL)

        before = result.status
        result.refresh()
        assert dummy.results[0].args == [[1]]
        assert [before, result.status] == [TaskResultStatus.READY, TaskResultStatus.SUCCESSFUL]

    def test_copy_has_the_task_that_was_enqueued(self, settings: Settings) -> None:
        use(settings, OUR_DUMMY)
        changed = tasks.echoes.using(max_retries=9)

        assert changed.enqueue(1).task == changed
