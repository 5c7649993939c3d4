"""Fixtures that more than one test file shares."""

from collections.abc import Generator

import pytest

from tests.driver import Driver

# They have settings of their own, and need a browser: `tox -e browser` runs them.
collect_ignore = ["browser"]


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
