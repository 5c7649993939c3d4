"""Management commands on a site, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


def manage(
    *arguments: str,
    cwd: Path = ROOT,
    site: str = "tests.settings",
    database_url: str | None = None,
) -> str:
    """Run a management command in a process of its own; return all it prints."""
    environment = {"DJANGO_SETTINGS_MODULE": site, "PYTHONPATH": f"{cwd}{os.pathsep}{ROOT}"}
    if database_url:
        environment["DATABASE_URL"] = database_url
    done = subprocess.run(
        [sys.executable, "-m", "django", *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return done.stdout


def bare_site(directory: Path, *, apps: list[str], orm: str | None = "default") -> Any:
    """Return how to run a management command on a site with these apps and a new database."""
    values = {
        "SECRET_KEY": "for tests only",
        "USE_TZ": True,
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": apps,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(directory / "db.sqlite3"),
                "CONN_MAX_AGE": 600,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            }
        },
        "Q_CLUSTER": {"orm": orm, "timeout": 60, "retry": 120, "save_limit": -1},
        "RETRYTASKS": {"ALERTS": []},
    }
    lines = [f"{name} = {value!r}" for name, value in values.items()]
    (directory / "bare.py").write_text("\n".join(lines))

    def run(*arguments: str) -> str:
        return manage(*arguments, cwd=directory, site="bare")

    return run
