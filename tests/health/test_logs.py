"""Each log line of a task's code names its Task."""

from __future__ import annotations

import logging
import logging.config
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from django_retrytasks.health import logs
from django_retrytasks.health.logs import TaskFilter
from django_retrytasks.signals import attempt_failed
from django_retrytasks.worker.pace import pace
from tests.docs.book import DOCS, settings_of
from tests.support import logging_tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)
logger = logging.getLogger("shop")


class Lines(logging.Handler):
    """Keeps what each line says, formatted as a site may have it."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(TaskFilter())
        self.setFormatter(logging.Formatter("{task_id} {task_name} {attempt} {message}", style="{"))
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(self.format(record))


@pytest.fixture(autouse=True)
def _nothing_runs() -> None:
    """Forget the attempts that an earlier test has run in its own context."""
    logs._about.set(None)


@pytest.fixture
def lines() -> Iterator[list[str]]:
    handler, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield handler.kept
    root.setLevel(level)
    root.removeHandler(handler)


def of_shop(lines: list[str]) -> list[str]:
    return [line for line in lines if line.endswith(" says")]


@pytest.mark.parametrize("name", ["speaks", "speaks_async", "speaks_in_a_thread"])
def test_line_of_a_function_names_its_task_and_attempt(
    driver: Driver, lines: list[str], name: str
) -> None:
    result = getattr(logging_tasks, name).enqueue()

    driver.run_due()

    path = f"tests.support.logging_tasks.{name}"
    assert of_shop(lines) == [f"{result.id} {path} 1 says", f"{result.id} {path} 2 says"]


def test_lines_of_functions_that_run_together_are_told_apart(
    driver: Driver, lines: list[str]
) -> None:
    for _ in range(60):
        pace.note(0.0001)
    results = logging_tasks.speaks_beside_others.enqueue_many([()] * 5)

    driver.run_due()

    ids = [line.split()[0] for line in of_shop(lines)]
    assert sorted(ids) == sorted([str(result.id) for result in results] * 2)
    assert len(set(ids[:5])) == 5  # each had begun before the first ended


def test_lines_of_receivers_name_it_too(driver: Driver, lines: list[str]) -> None:
    def receive(**details: Any) -> None:
        logger.info("says")

    result = logging_tasks.fails.enqueue()
    attempt_failed.connect(receive)
    try:
        driver.run_due()
    finally:
        attempt_failed.disconnect(receive)

    assert of_shop(lines) == [f"{result.id} tests.support.logging_tasks.fails 1 says"]


def test_line_outside_of_a_task_names_none(driver: Driver, lines: list[str]) -> None:
    logging_tasks.speaks.enqueue()
    driver.run_due()
    lines.clear()

    logger.info("says")

    assert of_shop(lines) == ["- - - says"]


def test_what_a_line_says_itself_is_kept(lines: list[str]) -> None:
    logger.info("says", extra={"task_id": "mine", "attempt": 7})

    assert of_shop(lines) == ["mine - 7 says"]


def test_settings_of_the_documentation_name_it(lines: list[str]) -> None:
    page = DOCS / "how-to" / "monitoring.md"
    logging_settings = settings_of(page, "TaskFilter")["LOGGING"]
    configurator = logging.config.DictConfigurator(logging_settings)
    named = configurator.configure_filter(logging_settings["filters"]["task"])
    formatter = configurator.configure_formatter(logging_settings["formatters"]["task"])
    record = logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "says"})

    assert isinstance(named, logging.Filter)
    assert named.filter(record)
    assert formatter.format(record).endswith(" INFO shop [- - -] says")


def test_filter_is_found_before_the_models_are_loaded() -> None:
    code = "from django_retrytasks.health.logs import TaskFilter; print(TaskFilter.__name__)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert (done.stdout.strip(), done.stderr) == ("TaskFilter", "")
