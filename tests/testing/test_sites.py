"""The kit in a site's own tests: with pytest, with ``manage.py test``, and without Django."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.servers import run_once
from tests.testing.sites import IN_A_FILE, SETTINGS, Site

pytestmark = run_once

PYTEST_TESTS = """
import pytest
from django_retrytasks.testing import RetryTasksKit, assert_attempts, drain
from orders.tasks import charge

def test_passes(retrytasks: RetryTasksKit) -> None:
    result = charge.enqueue("ann")
    retrytasks.assert_enqueued(charge, ["ann"])
    retrytasks.step()
    retrytasks.advance()
    retrytasks.drain(until=result)
    retrytasks.assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"], countdowns=[5, 10])

@pytest.mark.django_db
def test_fails() -> None:
    result = charge.enqueue("ann")
    drain()
    assert_attempts(result, ["SUCCEEDED"])

def test_cluster(retrytasks_cluster):
    result = charge.using(countdown=0).enqueue("bob")
    assert retrytasks_cluster.wait_for(result).return_value == "charged bob"
"""

UNITTESTS = """
from django.test import TestCase
from django_retrytasks.testing import RetryTasksKit
from orders.tasks import charge

class ChargeTests(RetryTasksKit, TestCase):
    def test_passes(self):
        with self.failing(charge, times=1, exc=TimeoutError):
            result = charge.enqueue("ann")
            self.drain(until=result)
        self.assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"])

    def test_fails(self):
        result = charge.enqueue("ann")
        self.drain()
        self.assert_attempts(result, ["SUCCEEDED"])
"""

NOTHING_STORED = """
from django.test import TestCase
from django_retrytasks.testing import RetryTasksKit
from orders.tasks import charge

class NothingTests(RetryTasksKit, TestCase):
    def test_passes(self):
        self.assertEqual(self.drain(), [])
        self.assertIsNone(self.step())
        with self.assertRaisesMessage(AssertionError, "no Task waits: none becomes due"):
            self.advance()
        charge.enqueue("ann")
        self.assertEqual(len(self.drain()), 1)
"""

TIMELINE = (
    "the attempts ended ['FAILED'], expected ['SUCCEEDED']",
    "RETRYING, retry 1 of 3, due in ",
    "  1  at 0.0 s  FAILED     ConnectionError: the bank is closed; retry 1 of 3 in 5 s",
    'raise ConnectionError("the bank is closed")',
)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def site_in_a_file(tmp_path: Path) -> Site:
    return Site(tmp_path, SETTINGS + IN_A_FILE)


class TestPlugin:
    def test_imports_nothing_of_django(self, site: Site) -> None:
        words = (
            "import sys, django_retrytasks.testing.pytest_plugin; print('django' in sys.modules)"
        )

        imported = site.run("-c", words, settings=None)

        assert (imported.stdout, imported.stderr) == ("False\n", "")

    @pytest.mark.parametrize("options", [(), ("-p", "no:django")], ids=["with", "without"])
    def test_is_there_in_a_run_without_settings(self, site: Site, options: tuple[str, ...]) -> None:
        site.write("test_plain.py", "import sys\n\ndef test_passes(): assert 1\n")

        ran = site.pytest("test_plain.py", "--trace-config", *options, settings=None)

        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "django_retrytasks/testing/pytest_plugin.py" in ran.stdout

    def test_names_its_fixtures(self, site: Site) -> None:
        ran = site.pytest("--fixtures", settings=None)

        assert "\nretrytasks -- " in ran.stdout
        assert "\nretrytasks_cluster -- " in ran.stdout


class TestPytest:
    def test_passes_and_shows_what_happened(self, site: Site) -> None:
        site.write("test_orders.py", PYTEST_TESTS)

        ran = site.pytest("test_orders.py", "-k", "not cluster")

        assert "1 failed, 1 passed" in ran.stdout, ran.stdout + ran.stderr
        assert [line for line in TIMELINE if line not in ran.stdout] == []
        # The kit's own code is none of the developer's business.
        assert "def assert_attempts" not in ran.stdout

    def test_says_that_a_database_in_memory_is_nothing_for_a_cluster(self, site: Site) -> None:
        site.write("test_orders.py", PYTEST_TESTS)

        ran = site.pytest("test_orders.py", "-k", "cluster")

        assert "1 error" in ran.stdout, ran.stdout + ran.stderr
        assert (
            "its SQLite database is in memory. Give it a file: DATABASES['default']" in ran.stdout
        )

    @pytest.mark.cluster
    def test_runs_a_cluster(self, site_in_a_file: Site) -> None:
        site_in_a_file.write("test_orders.py", PYTEST_TESTS)

        ran = site_in_a_file.pytest("test_orders.py", "-k", "cluster")

        assert "1 passed" in ran.stdout, ran.stdout + ran.stderr


class TestManage:
    def test_passes_and_shows_what_happened(self, site: Site) -> None:
        site.write("orders/tests.py", UNITTESTS)

        ran = site.run("-W", "error", "-m", "django", "test")

        assert "FAILED (failures=1)" in ran.stderr, ran.stdout + ran.stderr
        assert [line for line in TIMELINE if line not in ran.stderr] == []
        assert "testing/assertions.py" not in ran.stderr

    def test_without_the_setting_tasks_nothing_is_stored_at_first(self, site: Site) -> None:
        site.write("orders/tests.py", NOTHING_STORED)

        ran = site.run("-W", "error", "-m", "django", "test")

        assert "Ran 1 test" in ran.stderr
        assert ran.returncode == 0, ran.stdout + ran.stderr
