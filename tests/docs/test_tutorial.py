"""The tutorial does what it says, on a new project."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.urls import reverse

from tests.docs.book import DOCS
from tests.docs.fences import blocks
from tests.docs.project import cluster_of, django_admin, has_ended, manage
from tests.support.cluster import wait_for
from tests.support.servers import run_once


@run_once
@pytest.mark.cluster
class TestTutorial:
    def test_does_what_it_says(self, tmp_path: Path) -> None:
        page = DOCS / "tutorial" / "first-task.md"
        start_project(tmp_path, page)
        enqueue, attempts, redrive, success = (
            block.code for block in blocks(page) if block.language == "pycon"
        )

        with cluster_of(tmp_path) as log:
            talk(tmp_path, enqueue)
            wait_for(lambda: has_ended(tmp_path, "FAILED"))
            talk(tmp_path, FIND_TASK + attempts)
            talk(tmp_path, FIND_TASK + redrive)
            wait_for(lambda: has_ended(tmp_path, "SUCCEEDED"))
            talk(tmp_path, FIND_TASK + success)

        shown = next(block.code for block in blocks(page) if block.language == "text")
        message = re.sub(r"id=\S+", "id=…", log.read_text())
        assert shown.strip() in message

    def test_leads_to_the_admin_page(self) -> None:
        page = (DOCS / "tutorial" / "first-task.md").read_text()

        assert reverse("admin:retrytasks_task_changelist") in page


def start_project(site: Path, page: Path) -> None:
    """Make the project as the tutorial has its reader do."""
    django_admin(site, "startproject", "shop", ".")
    django_admin(site, "startapp", "orders")
    for block in blocks(page):
        if block.language == "python":
            with (site / block.path.replace(".", "/")).with_suffix(".py").open("a") as file:
                file.write(f"\n{block.code}")
    manage(site, "check", "--fail-level", "WARNING")
    manage(site, "migrate", "--verbosity", "0")


# What a later session of the tutorial's reader still has from an earlier one.
FIND_TASK = """\
>>> from django_retrytasks.models import Task
>>> task = result = Task.objects.get(internal=False)
"""


def talk(site: Path, session: str) -> None:
    """Have the project's shell run a session of the tutorial, and compare what it answers."""
    code = (
        "import doctest, sys; failed = doctest.DocTestRunner().run("
        f"doctest.DocTestParser().get_doctest({session!r}, {{}}, 'tutorial', None, 0)).failed; "
        "sys.exit(failed)"
    )
    manage(site, "shell", "-c", code)
