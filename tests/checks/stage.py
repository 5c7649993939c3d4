"""What the checks find, and what they find it in: a cluster, a task, receivers and sinks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.test import override_settings

from django_retrytasks import RetryTask, retry_task

SLOW = 'Q_CLUSTER["ALT_CLUSTERS"]["slow"]'
OPTIONS = (
    "max_retries, max_attempts, countdown, backoff, max_countdown, jitter, retry_on, no_retry_on, "
    "retry_for, max_crashes, timeout"
)
HERE = "tests.checks.stage"
NO_ALERT = "not callable"


@retry_task
def send() -> None:
    """Return nothing: tests put it in its place with other options."""


def alert(alert: Any) -> None:
    """Tell nobody."""


def page(alert: Any, number: str, after: float = 0) -> None:
    """Tell nobody, in one way or another."""


def receive(task: Any, attempt: Any, **kwargs: Any) -> None:
    """Hear of a final failure."""


def receive_task(task: Any) -> None:
    """Hear of too little."""


def found(number: str) -> list[CheckMessage]:
    return [one for one in run_checks(tags=["retrytasks"]) if one.id == f"retrytasks.{number}"]


@contextmanager
def q_cluster(**changes: Any) -> Iterator[None]:
    """Run the body with other values in Q_CLUSTER; a value of None takes the key out."""
    config = {**settings.Q_CLUSTER, **changes}
    given = {key: value for key, value in config.items() if value is not None}
    with override_settings(Q_CLUSTER=given):
        yield


@contextmanager
def defined(**options: Any) -> Iterator[RetryTask[..., Any]]:
    """Run the body with the task ``send`` decorated with these options."""
    with pytest.MonkeyPatch.context() as patch:
        task: RetryTask[..., Any] = RetryTask(func=send.func, **options)
        patch.setattr(sys.modules[__name__], "send", task)
        yield task
