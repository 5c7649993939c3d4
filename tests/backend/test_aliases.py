"""Several aliases, and sites without our backend."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from django_retrytasks import retry_task
from django_retrytasks.models import Status
from django_retrytasks.tasks import as_retry_task
from django_retrytasks.values.contract import InvalidTask
from tests.backend.aliases import FOREIGN, backend, configure, task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


class TestAliases:
    def test_one_function_through_two_aliases_has_two_policies(
        self, settings: Settings, driver: Driver
    ) -> None:
        configure(
            settings,
            default={"OPTIONS": {"max_retries": 1}},
            eager={"OPTIONS": {"max_retries": 3, "countdown": 2, "jitter": False}},
        )
        calm = plain.breaks.enqueue()
        eager = plain.breaks.using(backend="eager").enqueue()

        driver.drain()

        assert len(driver.attempts(calm)) == 2
        assert [attempt.decision for attempt in driver.attempts(eager)] == [
            "retry 1 of 3 in 2 s",
            "retry 2 of 3 in 4 s",
            "retry 3 of 3 in 8 s",
            "max_retries reached (3 retries)",
        ]
        assert [backend().get_result(r.id).backend for r in (calm, eager)] == ["default", "eager"]

    def test_each_has_its_queues(self, settings: Settings) -> None:
        configure(settings, default={"QUEUES": ["default"]}, mail={"QUEUES": ["letters"]})

        letters = plain.breaks.using(backend="mail", queue_name="letters")

        assert letters.enqueue().task.queue_name == "letters"
        with pytest.raises(InvalidTask, match="Queue 'letters' is not valid"):
            plain.breaks.using(queue_name="letters")

    def test_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="'nowhere' doesn't exist"):
            plain.breaks.using(backend="nowhere")

    def test_one_that_turns_foreign_leaves_its_waiting_tasks_runnable(
        self, settings: Settings, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(settings, default={}, mail={})
        result = as_retry_task(plain.breaks).using(backend="mail", max_retries=0).enqueue()
        neighbour = tasks.succeeds.enqueue()
        configure(settings, default={}, mail={"BACKEND": FOREIGN})
        foreign = task(backend="mail")(plain.breaks.func)
        monkeypatch.setattr(plain, "breaks", foreign)

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.attempt_count) == (Status.FAILED, 1)
        assert driver.row(neighbour).status == Status.SUCCEEDED


class TestWithoutOurBackend:
    @pytest.fixture(params=["none", "empty", "foreign", "no default"])
    def site(self, request: pytest.FixtureRequest, settings: Settings) -> None:
        if request.param == "none":
            del settings.TASKS
        else:
            settings.TASKS = {
                "empty": {},
                "foreign": {"default": {"BACKEND": FOREIGN, "QUEUES": ["mail"]}},
                "no default": {"other": {"BACKEND": FOREIGN}},
            }[request.param]

    @pytest.mark.usefixtures("site")
    def test_a_retry_task_is_stored_run_and_fetched(self, driver: Driver) -> None:
        made = retry_task(max_retries=2, queue_name="any")(tasks.echoes.func)

        result = made.enqueue(5)
        driver.run_due()

        fetched = made.get_result(result.id)
        assert (fetched.return_value, driver.row(result).max_retries) == (5, 2)

    def test_an_alias_of_another_backend_is_refused(self, settings: Settings) -> None:
        configure(settings, default={}, other={"BACKEND": FOREIGN})

        with pytest.raises(InvalidTask, match=r"TASKS\['other'\] is no RetryTasksBackend"):
            tasks.echoes.using(backend="other")

    def test_a_default_that_cannot_be_imported_is_an_error(self, settings: Settings) -> None:
        settings.TASKS = {"default": {"BACKEND": "does.not.exist"}}

        with pytest.raises(ImproperlyConfigured, match=r"does\.not\.exist"):
            tasks.echoes.enqueue(1)
