"""Fixtures that more than one test file shares."""

import pytest

from tests.driver import Driver


@pytest.fixture
def driver() -> Driver:
    return Driver()
