"""The admin's pages where django-unfold has replaced the templates they extend."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("unfold", reason="django-unfold wants Python 3.12")


def test_the_pages_are_complete_and_usable() -> None:
    """In a process of its own: what is installed is said once for a process."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/admin/unfold_site.py",
        "-p",
        "no:cacheprovider",
    ]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.support.settings.unfold"}

    done = subprocess.run([*command, "--tb=short"], env=environment, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout[-10_000:] + done.stderr[-2_000:]
