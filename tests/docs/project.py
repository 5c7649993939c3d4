"""A new project, as the reader of a page makes and runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import django_retrytasks
from tests.support.cluster import starting_cluster

PACKAGE = str(Path(django_retrytasks.__file__).parents[1])


def has_ended(site: Path, status: str) -> bool:
    code = (
        "from django_retrytasks.models import Task; "
        "print('status is', Task.objects.get(internal=False).status)"
    )
    return f"status is {status}" in manage(site, "shell", "-c", code)


def django_admin(site: Path, *arguments: str) -> str:
    return _finished([sys.executable, "-m", "django", *arguments], site)


def manage(site: Path, *arguments: str) -> str:
    return _finished([sys.executable, "manage.py", *arguments], site)


def _finished(command: Sequence[str], site: Path) -> str:
    done = subprocess.run(
        command, cwd=site, env=environment(), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment() -> dict[str, str]:
    """Return this environment without this run's settings, with our package to be found."""
    kept = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    return {**kept, "PYTHONPATH": PACKAGE}


@contextmanager
def cluster_of(site: Path) -> Iterator[Path]:
    """Run the project's cluster while the body runs; yield its log."""
    log = site / "qcluster.log"
    ours = {"DJANGO_SETTINGS_MODULE": "shop.settings", "PYTHONPATH": PACKAGE}
    with starting_cluster(log, directory=site, **ours):
        yield log
