"""Mail to ADMINS about failures: the alerts, without Django's mail for each failure."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings as site
from django.utils.log import AdminEmailHandler
from django.utils.module_loading import import_string

from django_retrytasks.alerts import mail_filter
from django_retrytasks.values.contract import Task as ContractTask
from django_retrytasks.values.contract import TaskResultStatus
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]
# "django.tasks" or, of the backport, "django_tasks".
CONTRACT = ContractTask.__module__.rpartition(".")[0]
HERE = "tests.alerts.test_mail_filter"
MAIL_ADMINS = "django_retrytasks.alerts.mail_admins"
NOBODY = (
    "ADMINS is empty, and no other sink is set: only the log reports final failures. "
    'Set ADMINS, or name another sink in RETRYTASKS["ALERTS"]; [] means the log only.'
)
Listen = Callable[[str], None]


def alert(alert: Any) -> None:
    """Be a sink that reaches people."""


class Collecting(logging.Handler):
    """Keeps what comes to it."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def listen(monkeypatch: pytest.MonkeyPatch) -> Listen:
    """Return how to give a logger the handler of Django's default LOGGING when Django starts."""

    def listen(name: str) -> None:
        handler = AdminEmailHandler()
        handler.setLevel(logging.ERROR)
        logger = logging.getLogger(name)
        monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
        apps.get_app_config("retrytasks").ready()

    return listen


@pytest.fixture(autouse=True)
def _nobody_was_warned() -> None:
    mail_filter._warn_once.cache_clear()


def subjects(mailoutbox: list[Any]) -> list[str]:
    return [letter.subject.removeprefix("[Django] ") for letter in mailoutbox]


def fail(driver: Driver, times: int = 12) -> None:
    for _ in range(times):
        tasks.fails_once_for_all.enqueue()
    driver.drain()


class TestDjangosLetter:
    @pytest.mark.parametrize("name", [CONTRACT, ""], ids=["Django's logger", "root"])
    def test_is_not_mailed_for_each_failure(
        self, driver: Driver, listen: Listen, mailoutbox: list[Any], name: str
    ) -> None:
        listen(name)

        fail(driver)

        # One at the first failure, one at the tenth; the batches decide where that is.
        assert 1 <= len(mailoutbox) <= 2
        assert all("fails_once_for_all" in subject for subject in subjects(mailoutbox))
        assert not [subject for subject in subjects(mailoutbox) if subject.startswith("ERROR")]

    def test_is_mailed_where_the_site_wants_it(
        self, driver: Driver, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen(CONTRACT)
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"], "MAIL_EACH_FAILURE": True}

        fail(driver)

        assert len(mailoutbox) == 12
        assert all(subject.startswith("ERROR: Task id=") for subject in subjects(mailoutbox))

    def test_is_mailed_where_alerts_reach_nobody(
        self, driver: Driver, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen(CONTRACT)
        settings.RETRYTASKS = {"ALERTS": []}

        fail(driver)

        assert len(mailoutbox) == 12

    def test_is_not_mailed_where_another_sink_reaches_people(
        self, driver: Driver, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen(CONTRACT)
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"]}

        fail(driver)

        assert mailoutbox == []

    def test_is_not_mailed_of_a_quiet_end(
        self, driver: Driver, listen: Listen, mailoutbox: list[Any]
    ) -> None:
        listen(CONTRACT)

        tasks.discards.enqueue()
        driver.drain()

        assert mailoutbox == []

    def test_is_mailed_of_another_backend(
        self, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen(CONTRACT)
        settings.TASKS = {"default": {"BACKEND": f"{CONTRACT}.backends.immediate.ImmediateBackend"}}

        foreign = import_string(f"{CONTRACT}.task")(plain.breaks.func)
        result = foreign.enqueue()

        assert result.status == TaskResultStatus.FAILED
        assert len(mailoutbox) == 1

    def test_is_mailed_of_what_no_alert_tells(
        self, driver: Driver, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen("django_retrytasks")
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"], "ON_FAILURE": ["nowhere.at_all"]}

        fail(driver, 1)

        [subject] = subjects(mailoutbox)
        assert "name=django_retrytasks.alerts.announcements.call_receiver" in subject

    def test_is_mailed_where_the_settings_cannot_be_read(
        self, driver: Driver, listen: Listen, settings: Any, mailoutbox: list[Any]
    ) -> None:
        listen("django_retrytasks")
        settings.RETRYTASKS = {"ALERTS": [{"no": "sink"}]}

        tasks.fails_once_for_all.enqueue()
        driver.run_due()

        assert any(
            "name=tests.support.tasks.fails_once_for_all" in each for each in subjects(mailoutbox)
        )

    def test_comes_to_other_handlers_as_before(
        self, driver: Driver, listen: Listen, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        other = Collecting()
        monkeypatch.setattr(logging.getLogger(CONTRACT), "handlers", [other])
        listen(CONTRACT)

        fail(driver)

        errors = [record for record in other.records if record.levelno == logging.ERROR]
        assert len(errors) == 12
        assert all(record.exc_info for record in errors)

    def test_is_kept_back_on_a_site_as_startproject_makes_it(self) -> None:
        code = (
            "import django, logging; django.setup();"
            "[mail] = [one for one in logging.getLogger('django').handlers"
            " if type(one).__name__ == 'AdminEmailHandler'];"
            "from django_retrytasks.alerts.mail_filter import is_mailed;"
            "print(mail.filters.count(is_mailed))"
        )
        bare = (
            "from django.conf import settings; from tests.settings import *;"
            "settings.configure(**{name: value for name, value in globals().items()"
            " if name.isupper() and name != 'LOGGING'});"
        )

        done = subprocess.run(
            [sys.executable, "-c", bare + code], cwd=ROOT, capture_output=True, text=True
        )

        assert (done.stdout, done.stderr) == ("1\n", "")


class TestNobody:
    @pytest.mark.parametrize("debug", [False, True])
    def test_hears_of_a_failure_and_the_log_says_so_once_with_the_fix(
        self, driver: Driver, settings: Any, caplog: pytest.LogCaptureFixture, debug: bool
    ) -> None:
        settings.ADMINS, settings.DEBUG = [], debug

        fail(driver)
        tasks.raises.using(max_retries=0).enqueue("OSError")
        driver.drain()

        said = [(record.levelname, record.getMessage()) for record in caplog.records]
        assert said.count(("WARNING", NOBODY)) == 1

    @pytest.mark.parametrize(
        "given",
        [
            {"ADMINS": site.ADMINS},
            {"RETRYTASKS": {"ALERTS": []}},
            {"RETRYTASKS": {"ALERTS": [MAIL_ADMINS, f"{HERE}.alert"]}},
        ],
        ids=["ADMINS", "the log is enough", "another sink"],
    )
    def test_is_not_said_where_somebody_hears_or_the_site_wants_it_so(
        self,
        driver: Driver,
        settings: Any,
        caplog: pytest.LogCaptureFixture,
        given: dict[str, Any],
    ) -> None:
        settings.ADMINS = []
        for name, value in given.items():
            setattr(settings, name, value)

        fail(driver)

        assert NOBODY not in [record.getMessage() for record in caplog.records]
