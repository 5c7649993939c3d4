"""What a newcomer does with the README on a new project: its example fails, and is retried."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.book import README, blocks
from tests.docs.project import cluster_of, django_admin, has_ended, manage
from tests.support.cluster import wait_for
from tests.support.servers import run_once

pytestmark = [pytest.mark.cluster, run_once]


def test_example_of_the_readme_is_retried_on_a_new_project(tmp_path: Path) -> None:
    enqueue = begin_project(tmp_path)

    with cluster_of(tmp_path) as log:
        manage(tmp_path, "shell", "-c", enqueue)
        wait_for(lambda: has_ended(tmp_path, "FAILED"))

    lines = [line for line in log.read_text().splitlines() if line.startswith("Task ")]
    told = [line.partition(": ")[0] for line in lines if "exception=" in line]
    assert told == ["Task will be retried"] * 3 + ["Task failed"]
    assert all(
        "exception=builtins.ConnectionRefusedError" in line for line in lines if "exc" in line
    )


def begin_project(site: Path) -> str:
    """Follow the README's steps; return the code that enqueues."""
    django_admin(site, "startproject", "shop", ".")
    django_admin(site, "startapp", "orders")
    settings, example, enqueue = [], "", ""
    for block in blocks(README):
        if block.path == "settings":
            settings.append(block.code)
        elif block.path == "orders.tasks":
            example = block.code
        elif block.language == "python":
            enqueue = block.code
    with (site / "shop" / "settings.py").open("a") as file:
        file.write("\n".join([*settings, 'INSTALLED_APPS += ["orders"]']))
    (site / "orders" / "tasks.py").write_text(example)
    manage(site, "check", "--fail-level", "WARNING")
    manage(site, "migrate", "--verbosity", "0")
    return enqueue
