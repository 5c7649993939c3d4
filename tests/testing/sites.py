"""A small site in a directory of its own, and its tests, run as its developers run them."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]

SETTINGS = """
from pathlib import Path

SECRET_KEY = "for tests only"
INSTALLED_APPS = [
    "django.contrib.auth", "django.contrib.contenttypes", "django_q", "django_retrytasks", "orders",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.sqlite3"}}
Q_CLUSTER = {"name": "site", "orm": "default", "workers": 1, "timeout": 60, "retry": 120}
USE_TZ = True
LOGGING = {"version": 1, "disable_existing_loggers": False}
"""

IN_A_FILE = """
DATABASES["default"] |= {
    "TEST": {"NAME": str(Path(__file__).with_name("test.sqlite3"))},
    "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
}
"""

TASKS = """
from django_retrytasks import RetryTaskContext, retry_task

@retry_task(bind=True, max_retries=3, countdown=5, jitter=False)
def charge(self: RetryTaskContext, customer: str) -> str:
    if self.retry_count < 2:
        raise ConnectionError("the bank is closed")
    return f"charged {customer}"
"""


class Site:
    """A site that has the package installed: its entry points are those of pyproject.toml."""

    def __init__(self, directory: Path, settings: str = SETTINGS) -> None:
        self.directory = directory
        self.write("settings.py", settings)
        self.write("orders/__init__.py", "")
        self.write("orders/tasks.py", TASKS)
        self._install()

    def write(self, path: str, text: str) -> None:
        """Write one of its files."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def run(
        self, *command: str, settings: str | None = "settings"
    ) -> subprocess.CompletedProcess[str]:
        """Run Python with these arguments in its directory; None: Django has no settings."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name != "DJANGO_SETTINGS_MODULE" and not name.startswith(("PYTEST", "COV_"))
        }
        chosen = {"DJANGO_SETTINGS_MODULE": settings} if settings else {}
        places = os.pathsep.join([str(self.directory), str(ROOT)])
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.directory,
            env={**inherited, **chosen, "PYTHONPATH": places},
            capture_output=True,
            text=True,
            timeout=120,
        )

    def pytest(
        self, *arguments: str, settings: str | None = "settings"
    ) -> subprocess.CompletedProcess[str]:
        """Run pytest there."""
        options = ("-p", "no:cacheprovider", "-W", "error", *arguments)
        return self.run("-m", "pytest", *options, settings=settings)

    def _install(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        lines = [f"{name} = {path}" for name, path in project["entry-points"]["pytest11"].items()]
        info = "site_under_test-1.dist-info"
        self.write(f"{info}/METADATA", "Metadata-Version: 2.1\nName: site-under-test\nVersion: 1\n")
        self.write(f"{info}/entry_points.txt", "\n".join(["[pytest11]", *lines]))
