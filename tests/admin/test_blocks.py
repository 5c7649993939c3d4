"""A site fills the blocks of the admin's pages as docs/how-to/admin.md says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.template.loader import get_template
from django.test import Client

from django_retrytasks.lifecycle import pauses, workers
from django_retrytasks.models import FailureGroup, Pause
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.declarations import declared, row_of
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("no_declarations")]

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "admin.md"
DOCUMENTED = re.findall(r"^\| `([a-z_/]+\.html)` \| `(rt_\w+)` \|", GUIDE.read_text(), re.M)
TEMPLATES = sorted({template for template, _ in DOCUMENTED})


def blocks_of(template: str) -> Iterator[str]:
    origin = get_template(f"admin/retrytasks/{template}").origin  # type: ignore[attr-defined]
    yield from re.findall(r"{% block (\w+) %}", Path(origin.name).read_text())


@pytest.mark.parametrize("template", TEMPLATES)
def test_each_block_of_ours_is_documented_in_its_place(template: str) -> None:
    documented = [block for name, block in DOCUMENTED if name == template]

    assert [block for block in blocks_of(template) if block.startswith("rt_")] == documented


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_site_fills_them(
    driver: Driver, admin_client: Client, settings: Any, tmp_path: Path, template: str
) -> None:
    blocks = [block for name, block in DOCUMENTED if name == template]
    path = tmp_path / "admin" / "retrytasks" / template
    path.parent.mkdir(parents=True)
    filled = [
        f"{{% block {b} %}}<i>{b} is ours</i>{{{{ block.super }}}}{{% endblock %}}" for b in blocks
    ]
    path.write_text(f'{{% extends "admin/retrytasks/{template}" %}}{"".join(filled)}')
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]

    page = admin_client.get(page_filled_for(template, driver)).content.decode()

    assert [block for block in blocks if f"<i>{block} is ours</i>" not in page] == []
    assert "rt-" in page


def page_filled_for(template: str, driver: Driver) -> str:
    """Return the address of a page of which all is shown."""
    result = tasks.fails_once_for_all.enqueue()
    driver.drain()
    operation = operations.start("REDRIVE", {})
    pauses.pause(queue_name="slow")
    workers.note("app-1:11:Process-1", "slow", age=60, idle=5)
    declared("the report", args=["yearly"])
    pages = {
        "task/change_list.html": "task/",
        "task/change_form.html": f"task/{result.id}/change/",
        "failuregroup/change_form.html": f"failuregroup/{FailureGroup.objects.get().pk}/change/",
        "operation/change_form.html": f"operation/{operation.pk}/change/",
        "pause/change_form.html": f"pause/{Pause.objects.get().pk}/change/",
        "periodictask/change_form.html": f"periodictask/{row_of('the report').pk}/change/",
        "worker/change_list.html": "worker/",
        "worker/change_form.html": f"worker/{quote('app-1:11:Process-1')}/change/",
        "confirm.html": f"task/{result.id}/do/redrive/",
    }
    return f"/admin/retrytasks/{pages[template]}"
