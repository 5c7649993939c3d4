"""Backends that store no rows: the kit says so, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pytest_django import Settings

from django_retrytasks.testing import (
    advance,
    assert_attempts,
    assert_enqueued,
    drain,
    step,
    timeline,
)
from django_retrytasks.values.contract import BaseTaskBackend
from tests.support import tasks
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

DJANGOS = BaseTaskBackend.__module__.removesuffix(".base")
STORELESS = [
    f"{DJANGOS}.immediate.ImmediateBackend",
    f"{DJANGOS}.dummy.DummyBackend",
    "django_retrytasks.testing.DummyBackend",
]
FIX = r'which stores no rows: name "django_retrytasks.backend.RetryTasksBackend" in the TASKS'


@pytest.fixture(params=STORELESS)
def storeless(request: pytest.FixtureRequest, settings: Settings) -> str:
    settings.TASKS = {"default": {"BACKEND": request.param, "QUEUES": []}}
    return str(request.param).rpartition(".")[2]


@pytest.mark.parametrize("verb", [drain, step, advance])
def test_what_runs_tasks_says_that_none_is_stored(storeless: str, verb: Callable[[], Any]) -> None:
    plain.sends_receipt.enqueue(42)

    with pytest.raises(AssertionError, match=rf"TASKS\['default'\] is .*{storeless}, {FIX}"):
        verb()


@pytest.mark.parametrize("ask", [timeline, lambda of: assert_attempts(of, []), drain])
def test_what_asks_about_a_result_says_that_it_is_not_stored(
    storeless: str, ask: Callable[[Any], Any]
) -> None:
    result = plain.sends_receipt.enqueue(42)

    with pytest.raises(
        AssertionError, match=rf"sends_receipt stores no Task: .*{storeless}, {FIX}"
    ):
        ask(result)


def test_what_asks_about_a_function_says_that_none_is_stored(storeless: str) -> None:
    with pytest.raises(
        AssertionError, match=rf"sends_receipt stores no Task: .*{storeless}, {FIX}"
    ):
        assert_enqueued(plain.sends_receipt)


def test_our_own_tasks_are_stored_beside_djangos_backends(settings: Settings) -> None:
    settings.TASKS = {"default": {"BACKEND": STORELESS[0]}}
    result = tasks.echoes.enqueue(1)

    assert len(drain()) == 1
    assert_attempts(result, ["SUCCEEDED"])
    assert_enqueued(tasks.echoes, [1])


def test_a_site_without_the_setting_stores_them(settings: Settings) -> None:
    settings.TASKS = {}

    assert drain() == []


def test_the_immediate_backend_has_run_them_already(settings: Settings) -> None:
    path = "django_retrytasks.testing.ImmediateBackend"
    settings.TASKS = {"default": {"BACKEND": path, "QUEUES": []}}

    result = tasks.fails_twice.enqueue()

    assert drain() == []
    assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"])
