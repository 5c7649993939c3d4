"""Fixtures that more than one test file shares."""

from collections.abc import Generator, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.support.declarations import code
from tests.support.driver import Driver
from tests.support.http_receiver import Receiver, receiving

# They have settings of their own, and need a browser: `tox -e browser` runs them.
collect_ignore = ["browser"]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what deals the tests out to processes for ``--dist loadscope``."""
    if config.getvalue("dist") != "loadscope":
        return None
    xdist: Any = import_module("xdist.scheduler")  # not typed
    scheduling = xdist.LoadScopeScheduling(config, log)
    scheduling._split_scope = _dealt_together
    return scheduling


def _dealt_together(nodeid: str) -> str:
    """Return the name of the tests that run in one process: a class, or the functions of a file."""
    # Each crash point goes alone: together they take longer than all other tests of a process.
    is_long = nodeid.startswith("tests/adversary/test_crash_points.py")
    return nodeid if is_long else nodeid.rpartition("::")[0]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what pytest-xdist cannot send on: lone surrogates that a test had logged."""
    report = yield
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Leave the databases' names as they are: the settings tell workers apart already."""


@pytest.fixture
def driver() -> Driver:
    return Driver()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def no_declarations() -> Iterator[None]:
    """Let the test alone declare periodic Tasks."""
    with code():
        yield


@pytest.fixture
def noted_in(tmp_path: Path) -> str:
    """Return an empty directory for a Task to note in."""
    directory = tmp_path / "notes"
    directory.mkdir()
    return str(directory)


@pytest.fixture
def orm_apart(settings: Any) -> None:
    """Keep Tasks in another database than the default one."""
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "orm": "apart"}


@pytest.fixture
def notified() -> Iterator[list[Any]]:
    """Collect what apprise sends to ``planted://``; what it sends to ``planted://fails`` fails."""
    calls: list[Any] = []
    apprise: Any = import_module("apprise")  # typed in part

    def collect(
        body: str, title: str, notify_type: Any, *args: Any, meta: Any, **rest: Any
    ) -> bool:
        calls.append((title, body, str(getattr(notify_type, "value", notify_type))))
        return bool(meta.get("host") != "fails")

    apprise.decorators.notify(on="planted")(collect)
    yield calls
    apprise.manager_plugins.NotificationManager().remove("planted")
