"""Fixtures that more than one test file shares."""

import pytest

from tests.driver import Driver


@pytest.fixture(scope="session")
def django_db_modify_db_settings_xdist_suffix() -> None:
    """Leave the databases' names as they are: the settings tell workers apart already."""


@pytest.fixture
def driver() -> Driver:
    return Driver()
