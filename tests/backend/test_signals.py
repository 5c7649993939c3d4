"""The signals and the log of django.tasks."""

from __future__ import annotations

import logging
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from django_retrytasks import lifecycle
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Status
from django_retrytasks.values.contract import (
    TaskResultStatus,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.backend.aliases import CORE, configure
from tests.support import tasks
from tests.support.driver import Driver, received
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


class TestSignals:
    def test_a_task_is_enqueued_started_and_finished_once_over_all_its_retries(
        self, driver: Driver
    ) -> None:
        with (
            received(task_enqueued) as enqueued,
            received(task_started) as started,
            received(task_finished) as finished,
        ):
            result = tasks.always_fails.enqueue()
            counts = []
            for _ in range(4):
                driver.attempt(result)
                counts.append((len(enqueued), len(started), len(of(finished, result))))

        assert counts == [(1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 1)]
        [told] = of(finished, result)
        assert told["sender"] is enqueued[0]["sender"] is started[0]["sender"] is RetryTasksBackend
        assert enqueued[0]["task_result"] is result
        assert started[0]["task_result"].status == TaskResultStatus.RUNNING
        assert (told["task_result"].status, len(told["task_result"].errors)) == ("FAILED", 4)

    def test_a_finished_task_tells_its_return_value(self, driver: Driver) -> None:
        with received(task_finished) as finished:
            tasks.echoes.enqueue(Decimal("1.5"))
            driver.run_due()

        assert finished[0]["task_result"].return_value == Decimal("1.5")

    def test_the_exception_is_at_hand_when_a_task_has_failed(self, driver: Driver) -> None:
        seen: list[Any] = []

        def receiver(**details: Any) -> None:
            seen.append(sys.exc_info()[0])

        task_finished.connect(receiver)
        plain.exits.enqueue()
        tasks.succeeds.enqueue()
        driver.run_due()
        task_finished.disconnect(receiver)

        assert seen[:2] == [SystemExit, None]

    def test_a_receiver_that_raises_harms_nothing(self, driver: Driver) -> None:
        def receiver(**details: Any) -> None:
            raise RuntimeError("deaf")

        signals = (task_enqueued, task_started, task_finished)
        for signal in signals:
            signal.connect(receiver)
        result = tasks.succeeds.enqueue()
        driver.run_due()
        for signal in signals:
            signal.disconnect(receiver)

        assert driver.row(result).status == Status.SUCCEEDED

    def test_the_sender_is_the_class_that_the_alias_names(
        self, settings: Settings, driver: Driver
    ) -> None:
        configure(settings, default={}, letters={"BACKEND": f"{__name__}.Letters"})

        with (
            received(task_enqueued) as enqueued,
            received(task_started) as started,
            received(task_finished) as finished,
        ):
            tasks.succeeds.using(backend="letters").enqueue()
            driver.run_due()

        senders = [signals[0]["sender"] for signals in (enqueued, started, finished)]
        assert senders == [Letters, Letters, Letters]

    def test_a_redrive_starts_and_finishes_anew(self, driver: Driver) -> None:
        with received(task_started) as started, received(task_finished) as finished:
            result = tasks.fails_once_for_all.enqueue()
            driver.run_due()
            lifecycle.redrive([uuid.UUID(result.id)])
            driver.run_due()

        assert (len(of(started, result)), len(of(finished, result))) == (2, 2)

    def test_the_log_of_django_tasks_is_written(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, CORE)

        result = tasks.fails_once_for_all.enqueue()
        driver.run_due()

        lines = [r for r in caplog.records if r.name == CORE and result.id in r.getMessage()]
        assert [r.levelname for r in lines] == ["DEBUG", "INFO", "ERROR"]
        assert [r.getMessage().rpartition(" ")[2] for r in lines[1:]] == [
            "state=RUNNING",
            "state=FAILED",
        ]
        assert lines[-1].exc_info
        assert lines[-1].exc_info[0] is ValueError


class Letters(RetryTasksBackend):
    """A backend that a site has derived."""


def of(signals: list[dict[str, Any]], result: Any) -> list[dict[str, Any]]:
    return [told for told in signals if told["task_result"].id == result.id]
