"""What the product enqueues for itself is made alike, whatever it is for."""

from __future__ import annotations

from typing import Any

import pytest

from django_retrytasks import retry_task
from django_retrytasks.alerts import Alert
from django_retrytasks.models import Attempt, Operation, Task
from django_retrytasks.operators import operations
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

HERE = "tests.lifecycle.test_internal"


def hear(task: Task, attempt: Attempt) -> None:
    """Be told of a failure."""


def alert(alert: Alert) -> None:
    """Be told of a group of failures."""


@retry_task(max_retries=0, on_failure=hear)
def fails() -> None:
    raise ValueError("not today")


def test_each_has_the_limits_of_its_policy_and_is_claimed_alone(
    driver: Driver, settings: Any
) -> None:
    settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"], "ON_FAILURE": [f"{HERE}.hear"]}
    fails.enqueue()
    driver.drain()
    operations.start(Operation.VerbName.REDRIVE, {"name": fails.module_path})

    made = Task.objects.filter(internal=True)

    assert {task.name.rpartition(".")[2] for task in made} == {
        "announce_failures",
        "call_receiver",
        "call_on_failure",
        "send_alert",
        "run_operation",
    }
    assert {(task.timeout, task.max_retries, task.suspect) for task in made} == {(300, 20, True)}
