"""Django's own tests of django.tasks, with our backends in place of Django's.

They are in Django's source distribution: ``tox -e conformance`` fetches it, and names the folder
of its tests in ``DJANGO_TESTS``.
"""

from __future__ import annotations

import os
import sys
import unittest
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import django
import pytest
from django import test as django_test
from pytest_django import Settings

from django_retrytasks import testing
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Task as Row
from django_retrytasks.tasks.result import RetryTaskResult
from django_retrytasks.values.contract import Task

FOLDER = os.environ.get("DJANGO_TESTS", "")
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "backend.md"
BACKENDS = {
    "DummyBackend": "django.tasks.backends.dummy.DummyBackend",
    "ImmediateBackend": "django.tasks.backends.immediate.ImmediateBackend",
}

# The tests that fail, each with the line of the page that says why.
TYPES = "an argument other than JSON is `Unsupported type`"
RETRIED = "the first exception is final"
READABLE = "`get_result` and `refresh` are not supported by the immediate backend"
EQUAL = "a just enqueued result equals the fetched one"
OF_ALL = {
    "TaskTestCase.test_enqueue_with_invalid_argument": TYPES,
    "TaskTestCase.test_aenqueue_with_invalid_argument": TYPES,
    "TaskTestCase.test_task_error_invalid_exception": RETRIED,
    "TaskTestCase.test_task_error_unknown_module": RETRIED,
}
OF_IMMEDIATE = {
    "ImmediateBackendTestCase.test_cannot_get_result": READABLE,
    "ImmediateBackendTestCase.test_cannot_refresh_result": READABLE,
    "ImmediateBackendTestCase.test_cannot_pass_run_after": (
        "`run_after` is refused by the immediate backend"
    ),
    "ImmediateBackendTestCase.test_complex_return_value": (
        "a return value that cannot be stored is a `TypeError`"
    ),
}
OF_STORING = {
    "TaskTestCase.test_get_result": EQUAL,
    "TaskTestCase.test_get_result_async": EQUAL,
    "TaskTestCase.test_refresh_result": "`refresh` may be called in a coroutine",
}


class StoringBackend(RetryTasksBackend):
    """The backend proper, with what Django's tests ask of the dummy one."""

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[RetryTaskResult[Any]] = []

    def enqueue_many(
        self, task: Task[..., Any], calls: Any, *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        enqueued = super().enqueue_many(task, calls, results=results)
        self.results += enqueued
        return enqueued

    def clear(self) -> None:
        self.results.clear()
        Row.objects.all().delete()


@pytest.mark.parametrize(
    "reason", [*dict.fromkeys({**OF_ALL, **OF_IMMEDIATE, **OF_STORING}.values())]
)
def test_page_about_the_backend_gives_the_reason_for_each_difference(reason: str) -> None:
    assert f"\n| {reason} |" in PAGE.read_text()


needs_tests = pytest.mark.skipif(
    not FOLDER or django.VERSION < (6, 1),
    reason="needs the tests of Django 6.1: tox -e conformance fetches them",
)


@pytest.fixture(params=["ours", "django"])
def made_under(request: pytest.FixtureRequest) -> Any:
    """Whose backend is the default one when the tests' tasks are decorated."""
    return request.param


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[None]:
    """Have Django's tests found, let them use the database, and forget them in the end."""
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(django_test, "SimpleTestCase", django_test.TestCase)
    settings.TASKS = {"default": {"BACKEND": BACKENDS["ImmediateBackend"], "QUEUES": []}}
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "tasks"]:
        del sys.modules[name]


@needs_tests
@pytest.mark.usefixtures("site")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("dummy", "modules", "differences"),
    [
        (
            testing.DummyBackend,
            ["test_custom_backend", "test_dummy_backend", "test_immediate_backend", "test_tasks"],
            {**OF_ALL, **OF_IMMEDIATE},
        ),
        (StoringBackend, ["test_tasks"], {**OF_ALL, **OF_STORING}),
    ],
)
def test_all_of_them_pass_but_those_that_the_page_explains(
    dummy: type[RetryTasksBackend],
    modules: list[str],
    differences: Mapping[str, str],
    made_under: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if made_under == "django":
        import_module("tasks.tasks")
    monkeypatch.setattr(BACKENDS["DummyBackend"], dummy)
    monkeypatch.setattr(BACKENDS["ImmediateBackend"], testing.ImmediateBackend)

    failed = failures([f"tasks.{name}" for name in modules])

    assert set(failed) == set(differences), "\n".join(failed.values())


def failures(modules: list[str]) -> dict[str, str]:
    """Run the tests of these modules; return the traceback of each that fails, by its name."""
    suite = unittest.TestSuite()
    for name in modules:
        suite.addTests(unittest.defaultTestLoader.loadTestsFromModule(import_module(name)))
    result = unittest.TestResult()
    suite.run(result)
    assert result.testsRun > 30
    failed = [*result.failures, *result.errors]
    return {".".join(test.id().split(".")[-2:]): traceback for test, traceback in failed}
