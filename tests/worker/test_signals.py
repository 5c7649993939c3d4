"""What is told of an attempt: this package's signals, django.tasks' signals, and the log."""

import logging
import sys
import uuid
from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.models import Status, Task
from django_retrytasks.signals import attempt_failed, task_retrying, task_succeeded
from django_retrytasks.values.contract import (
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from django_retrytasks.worker import batch
from tests.support import tasks
from tests.support.driver import Driver, received

pytestmark = pytest.mark.django_db


class TestOurSignals:
    def test_each_failed_attempt_is_told_with_its_live_exception(self, driver: Driver) -> None:
        tasks.fails_twice.using(max_retries=1).enqueue()

        with received(attempt_failed) as failed, received(task_succeeded) as succeeded:
            driver.drain()

        told = [(call["attempt"].number, call["task"].status) for call in failed]
        assert told == [(1, Status.RETRYING), (2, Status.FAILED)]
        assert [str(call["exception"]) for call in failed] == ["attempt 1", "attempt 2"]
        assert all(isinstance(call["exception"], ConnectionError) for call in failed)
        assert [call["sender"] for call in failed] == [Task, Task]
        ours = [call for call in succeeded if not call["task"].internal]
        assert ours == []

    def test_a_retry_is_told_with_its_moment(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()

        with received(task_retrying) as retrying:
            row = driver.attempt(result)

        [call] = retrying
        assert call["run_after"] == row.run_after
        assert call["run_after"] - call["attempt"].finished_at > timedelta(seconds=4)

    def test_a_success_is_told_once(self, driver: Driver) -> None:
        tasks.echoes.enqueue(1)

        with received(task_succeeded) as succeeded, received(attempt_failed) as failed:
            driver.run_due()

        assert [(c["task"].return_value, c["attempt"].number) for c in succeeded] == [(1, 1)]
        assert failed == []

    def test_neither_a_snooze_nor_a_discard_is_a_failure(self, driver: Driver) -> None:
        tasks.snoozes_once.enqueue()
        tasks.discards.enqueue()

        with received(attempt_failed) as failed, received(task_retrying) as retrying:
            driver.run_due()

        assert (failed, retrying) == ([], [])

    def test_they_are_sent_when_the_outcome_is_stored(self, driver: Driver) -> None:
        stored = []

        def look(task: Task, **details: Any) -> None:
            stored.append((driver.row(task).status, len(driver.attempts(task))))

        tasks.echoes.enqueue(1)
        task_succeeded.connect(look)
        try:
            driver.run_due()
        finally:
            task_succeeded.disconnect(look)

        assert stored == [(Status.SUCCEEDED, 1)]

    def test_a_receiver_that_raises_harms_nothing_and_is_logged(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        def trip(**details: Any) -> None:
            raise RuntimeError("a receiver's own trouble")

        result = tasks.echoes.enqueue(1)
        for signal in (task_succeeded, task_started, task_finished):
            signal.connect(trip)
        try:
            driver.run_due()
        finally:
            for signal in (task_succeeded, task_started, task_finished):
                signal.disconnect(trip)

        assert driver.row(result).status == Status.SUCCEEDED
        assert caplog.text.count("a receiver's own trouble") >= 3


class TestSignalsOfDjangoTasks:
    def test_enqueued_is_sent_for_each_task(self) -> None:
        with received(task_enqueued) as enqueued:
            results = tasks.echoes.enqueue_many([(1,), (2,)])

        assert [call["task_result"].id for call in enqueued] == [result.id for result in results]

    def test_started_and_finished_are_sent_once_for_all_attempts(self, driver: Driver) -> None:
        result = tasks.fails_twice.enqueue()

        with received(task_started) as started, received(task_finished) as finished:
            driver.drain()

        [start], [finish] = started, finished
        assert start["task_result"].id == finish["task_result"].id == result.id
        assert start["task_result"].status == TaskResultStatus.RUNNING
        assert finish["task_result"].status == TaskResultStatus.SUCCESSFUL
        assert finish["task_result"].return_value == 3
        assert len(finish["task_result"].errors) == 2

    def test_a_failure_is_finished_with_its_exception_at_hand(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()
        seen = []

        def look(task_result: Any, **details: Any) -> None:
            if task_result.id == result.id:
                seen.append((task_result.status, sys.exception()))

        task_finished.connect(look)
        try:
            driver.run_due()
        finally:
            task_finished.disconnect(look)

        [(status, exception)] = seen
        assert status == TaskResultStatus.FAILED
        assert isinstance(exception, ValueError)

    def test_a_task_whose_code_is_gone_ends_without_them(self, driver: Driver) -> None:
        result = tasks.echoes.using(max_retries=0).enqueue(1)
        Task.objects.update(name="tests.gone.task", given_back_count=batch.GIVE_BACKS)

        with received(task_finished) as finished:
            driver.attempt(result)

        assert result.id not in [call["task_result"].id for call in finished]
        assert driver.row(result).status == Status.FAILED


class TestLog:
    def test_each_transition_is_one_line_with_its_details(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG, "django_retrytasks"):
            result = tasks.always_fails.using(max_retries=1).enqueue()
            driver.attempt(result)
            driver.attempt(result)

        name = "tests.support.tasks.always_fails"
        lines = [line for line in of_ours(caplog) if line.__dict__.get("task_name") == name]
        tail = f"id={result.id} name={name}"
        error = "exception=builtins.ConnectionError"
        assert [(line.levelname, line.getMessage()) for line in lines] == [
            ("DEBUG", f"Task enqueued: {tail} attempt=0"),
            (
                "WARNING",
                f"Task will be retried: {tail} attempt=1 {error} decision=retry 1 of 1 in 5 s",
            ),
            (
                "ERROR",
                f"Task failed: {tail} attempt=2 {error} decision=max_retries reached (1 retry)",
            ),
        ]
        assert [line.__dict__["countdown"] for line in lines] == [None, 5.0, None]
        assert {line.__dict__["task_id"] for line in lines} == {result.id}

    def test_a_success_is_information(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks.echoes.enqueue(1)

        with caplog.at_level(logging.INFO, "django_retrytasks"):
            driver.run_due()

        [line] = of_ours(caplog)
        assert (line.levelname, line.getMessage()[:15]) == ("INFO", "Task succeeded:")

    @pytest.mark.parametrize("retry_count", [0, 1])
    def test_a_snooze_is_information_under_its_own_name(
        self, driver: Driver, caplog: pytest.LogCaptureFixture, retry_count: int
    ) -> None:
        tasks.snoozes_once.enqueue()
        Task.objects.update(retry_count=retry_count)

        with caplog.at_level(logging.INFO, "django_retrytasks"):
            driver.run_due()

        [line] = of_ours(caplog)
        assert (line.levelname, line.getMessage()[:13]) == ("INFO", "Task snoozed:")
        assert line.__dict__["countdown"] == 60

    @pytest.mark.parametrize(
        ("verb", "words"),
        [(lifecycle.redrive, "Task re-driven:"), (lifecycle.discard, "Task discarded:")],
    )
    def test_what_an_operator_does_is_information(
        self, driver: Driver, caplog: pytest.LogCaptureFixture, verb: Any, words: str
    ) -> None:
        task = driver.task_in(Status.FAILED)
        caplog.clear()

        with caplog.at_level(logging.INFO, "django_retrytasks"):
            verb([uuid.UUID(str(task.pk))])

        [line] = of_ours(caplog)
        assert (line.levelname, line.getMessage()[: len(words)]) == ("INFO", words)


def of_ours(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "django_retrytasks"]
