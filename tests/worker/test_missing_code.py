"""Tasks whose code is gone: given back at first, then a failed attempt."""

from pathlib import Path
from typing import Any

import pytest

from django_retrytasks.models import Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.worker import batch
from tests.support import tasks
from tests.support.driver import Driver, Outcome

pytestmark = pytest.mark.django_db


class TestCodeThatIsGone:
    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("tests.gone.task", "NotImportable"),
            ("tests.support.tasks.gone", "NotImportable"),
            ("retrytasks_broken.task", "NotImportable"),
            ("tests.support.tasks.note", "NotATask"),
        ],
    )
    def test_it_is_a_failed_attempt_retried_under_the_policy(
        self,
        driver: Driver,
        name: str,
        path: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        (tmp_path / "retrytasks_broken.py").write_text("this is no Python")
        monkeypatch.syspath_prepend(tmp_path)
        result = tasks.echoes.enqueue(1)
        Task.objects.update(name=name, given_back_count=batch.GIVE_BACKS)

        rows = [driver.attempt(result) for _ in range(4)]

        assert [row.status for row in rows] == [Status.RETRYING] * 3 + [Status.FAILED]
        assert rows[-1].stop_reason == StopReason.NOT_IMPORTABLE
        paths = {attempt.exception_class_path for attempt in driver.attempts(result)}
        assert paths == {f"django_retrytasks.exceptions.{path}"}

    def test_the_site_policy_then_gives_the_countdown(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"POLICY": {"countdown": 77, "jitter": False}}
        result = tasks.echoes.enqueue(1)
        Task.objects.update(name="tests.gone.task", given_back_count=batch.GIVE_BACKS)

        driver.run_due()

        assert driver.attempts(result)[0].decision == "retry 1 of 3 in 77 s"

    def test_it_is_first_given_back_uncharged_for_a_worker_that_has_it(
        self, driver: Driver
    ) -> None:
        result = tasks.echoes.enqueue(1)
        Task.objects.update(name="tests.gone.task")

        rows = [driver.attempt(result) for _ in range(batch.GIVE_BACKS)]
        Task.objects.update(name="tests.support.tasks.echoes")
        driver.attempt(result)

        assert [row.status for row in rows] == [Status.PENDING] * 4
        assert [row.given_back_count for row in rows] == [1, 2, 3, 4]
        assert [row.started_at for row in rows] == [None] * 4
        assert [attempt.outcome for attempt in driver.attempts(result)] == [Outcome.SUCCEEDED]

    def test_arguments_that_its_function_does_not_take_are_given_back_too(
        self, driver: Driver
    ) -> None:
        result = tasks.echoes.enqueue(1)
        Task.objects.update(kwargs={"added_by_newer_code": 1})

        waiting = driver.attempt(result)
        Task.objects.update(given_back_count=batch.GIVE_BACKS)
        failed = driver.attempt(result)

        assert (waiting.status, waiting.attempt_count) == (Status.PENDING, 0)
        assert (failed.status, failed.attempt_count) == (Status.RETRYING, 1)
        [attempt] = driver.attempts(result)
        assert attempt.exception_class_path == "builtins.TypeError"

    def test_its_neighbours_run(self, driver: Driver) -> None:
        gone, other = tasks.echoes.enqueue_many([(1,), (2,)])
        gone_row = Task.objects.filter(pk=gone.id)
        gone_row.update(name="tests.gone.task", given_back_count=batch.GIVE_BACKS)

        driver.run_due()

        assert driver.row(gone).status == Status.RETRYING
        assert driver.row(other).status == Status.SUCCEEDED

    def test_options_that_are_no_longer_valid_leave_the_default_policy(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = tasks.always_fails.using(max_retries=9).enqueue()
        Task.objects.update(options={"countdwn": 1})

        driver.run_due()

        assert driver.attempts(result)[0].decision.startswith("retry 1 of 9 in ")
        assert "its policy is not valid; the default decides" in caplog.text
