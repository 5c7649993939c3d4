"""Django's own log of started and finished tasks: a line each, made only if it may be seen."""

import logging
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest
from django.utils.log import RequireDebugTrue

from django_retrytasks.values.contract import (
    log_task_finished,
    signals_logger,
    task_finished,
    task_started,
)
from tests.support import tasks
from tests.support.driver import Driver, received

pytestmark = pytest.mark.django_db

DJANGOS_LOG = signals_logger.name


class TestLines:
    @pytest.mark.parametrize("task", [tasks.succeeds, tasks.fails_once_for_all])
    def test_says_the_same_alone_as_beside_other_receivers(
        self, driver: Driver, caplog: pytest.LogCaptureFixture, task: Any
    ) -> None:
        caplog.set_level(logging.INFO, logger=DJANGOS_LOG)
        task.using(max_retries=0).enqueue()
        driver.run_due()
        alone = lines(caplog)
        caplog.clear()
        task.using(max_retries=0).enqueue()

        with received(task_started), received(task_finished):
            driver.run_due()

        assert len(alone) == 2
        assert lines(caplog) == alone

    def test_may_be_replaced(self, driver: Driver) -> None:
        result = tasks.succeeds.enqueue()
        assert task_finished.disconnect(log_task_finished)
        try:
            with received(task_finished) as finished:
                driver.run_due()
        finally:
            task_finished.connect(log_task_finished)

        assert [call["task_result"].id for call in finished] == [result.id]

    def test_if_switched_off_hears_nothing(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING, logger=DJANGOS_LOG)
        tasks.succeeds.enqueue()

        with received(task_finished) as finished:
            driver.run_due()

        assert lines(caplog) == []
        assert len(finished) == 1


class Kept(logging.Handler):
    """Keeps the lines that reach it."""

    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def installed() -> Iterator[Callable[..., Kept]]:
    """Return a function that gives Django's lines a handler of development, and others."""
    development = Kept()
    development.addFilter(RequireDebugTrue())
    before = signals_logger.handlers, signals_logger.propagate, signals_logger.level

    def install(*others: logging.Handler) -> Kept:
        # Called by the test: pytest adds handlers of its own when a test begins.
        signals_logger.handlers = [development, *others]
        return development

    signals_logger.propagate = False
    signals_logger.setLevel(logging.INFO)
    yield install
    signals_logger.handlers, signals_logger.propagate = before[:2]
    signals_logger.setLevel(before[2])


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of Django's log that are made, seen or not."""
    lines: list[str] = []
    make = signals_logger.makeRecord

    def note(*args: Any, **details: Any) -> logging.LogRecord:
        record = make(*args, **details)
        lines.append(record.getMessage().rpartition("state=")[2])
        return record

    monkeypatch.setattr(signals_logger, "makeRecord", note)
    return lines


BOTH = ["RUNNING", "SUCCESSFUL"]


class TestProduction:
    """A line that no handler writes costs as much as one that is written."""

    def test_makes_no_line_for_a_handler_of_development(
        self, driver: Driver, installed: Callable[..., Kept], made: list[str]
    ) -> None:
        installed(Kept(logging.ERROR))
        tasks.succeeds.enqueue()

        driver.run_due()

        assert made == []

    def test_writes_both_lines_in_development(
        self, driver: Driver, installed: Callable[..., Kept], settings: Any
    ) -> None:
        settings.DEBUG = True
        development = installed()
        tasks.succeeds.enqueue()

        driver.run_due()

        assert len(development.records) == 2

    # The backport's logger has none above but the root.
    @pytest.mark.parametrize("name", sorted({"", DJANGOS_LOG.rpartition(".")[0]}))
    def test_writes_both_lines_to_a_handler_of_a_logger_above(
        self, driver: Driver, installed: Callable[..., Kept], name: str
    ) -> None:
        installed()
        kept, above = Kept(logging.INFO), logging.getLogger(name)
        above.addHandler(kept)
        signals_logger.propagate = True
        tasks.succeeds.enqueue()
        try:
            driver.run_due()
        finally:
            above.removeHandler(kept)

        assert len([each for each in kept.records if each.name == DJANGOS_LOG]) == 2

    def test_shows_all_lines_to_a_filter_of_the_logger(
        self, driver: Driver, installed: Callable[..., Kept], made: list[str]
    ) -> None:
        installed()

        class Refuses(logging.Filter):
            def filter(self, record: logging.LogRecord) -> bool:
                return False

        refuses = Refuses()
        signals_logger.addFilter(refuses)
        tasks.succeeds.enqueue()
        try:
            driver.run_due()
        finally:
            signals_logger.removeFilter(refuses)

        assert made == BOTH

    @pytest.mark.parametrize("task", [tasks.discards, tasks.fails_once_for_all])
    def test_writes_that_a_task_was_discarded_or_has_failed(
        self, driver: Driver, installed: Callable[..., Kept], task: Any
    ) -> None:
        kept = Kept(logging.ERROR)
        installed(kept)
        task.enqueue()

        driver.run_due()

        assert [record.levelname for record in kept.records] == ["ERROR"]

    def test_shows_all_lines_to_a_logger_of_another_class(
        self,
        driver: Driver,
        installed: Callable[..., Kept],
        made: list[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        class Counting(logging.Logger):
            """It may look at each line wherever it likes."""

        installed()
        monkeypatch.setattr(signals_logger, "__class__", Counting)
        tasks.succeeds.enqueue()

        driver.run_due()

        assert made == BOTH

    @pytest.mark.parametrize("is_wrapped", [False, True])
    def test_shows_all_lines_to_a_package_that_looks_at_each(
        self,
        driver: Driver,
        installed: Callable[..., Kept],
        made: list[str],
        monkeypatch: pytest.MonkeyPatch,
        is_wrapped: bool,
    ) -> None:
        def breadcrumbs(self: logging.Logger, record: logging.LogRecord) -> None:
            """Note each line, as Sentry's SDK does; New Relic's wraps what was there."""

        installed()
        wrapping = wraps(logging.Logger.callHandlers)(breadcrumbs) if is_wrapped else breadcrumbs
        monkeypatch.setattr(logging.Logger, "callHandlers", wrapping)
        tasks.succeeds.enqueue()

        driver.run_due()

        assert made == BOTH


def lines(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, bool]]:
    """Return level, words without the id, and whether there is a traceback, of Django's lines."""
    return [
        (one.levelname, one.getMessage().split(" path=")[1], one.exc_info is not None)
        for one in caplog.records
        if one.name == DJANGOS_LOG
    ]
