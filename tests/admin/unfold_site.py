"""The admin's pages with django-unfold installed: as they come, and on its own ModelAdmin.

Run by tests/admin/test_unfold.py, in a process of its own with tests/support/settings/unfold.py.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

import pytest
from django.contrib import admin
from django.core import checks
from django.test import Client
from django.urls import path
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite

from django_retrytasks.admin import (
    FailureGroupAdmin,
    OperationAdmin,
    PauseAdmin,
    TaskAdmin,
)
from django_retrytasks.admin import tasks as admin_tasks
from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import FailureGroup, Operation, Pause, Status, Task
from django_retrytasks.operators import operations
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.urls("tests.admin.unfold_site"),
    # Unfold's own, on Django 6.1.
    pytest.mark.filterwarnings("ignore:Overriding get_action_choices"),
]


class ShopTaskAdmin(TaskAdmin, ModelAdmin):
    list_filter_sheet = False


class ShopGroupAdmin(FailureGroupAdmin, ModelAdmin):
    pass


class ShopOperationAdmin(OperationAdmin, ModelAdmin):
    pass


class ShopPauseAdmin(PauseAdmin, ModelAdmin):
    pass


shop = UnfoldAdminSite(name="shop")
shop.register(Task, ShopTaskAdmin)
shop.register(FailureGroup, ShopGroupAdmin)
shop.register(Operation, ShopOperationAdmin)
shop.register(Pause, ShopPauseAdmin)
urlpatterns = [path(f"{site.name}/", site.urls) for site in (admin.site, shop)]

SITES = ("admin", "shop")
FACTS = ("Times", "Enqueued at", "Identity and place", "Queue name")
SHOWN = {
    "task/": ("Failed in 24 h", "60 minutes", "is paused", "ValueError", "enqueued", "Discard"),
    "task/{task}/change/": ("Attempt 1", "Re-drive", "not today", "Policy", "Schedule", *FACTS),
    "task/{task}/do/redrive/": ("Affected Tasks", "tasks.fails_once_for_all", "Reason"),
    "task/all/snooze/": ("Seconds", "Per minute", "in the background, in chunks"),
    "failuregroup/": ("ValueError", "in 1 h / 24 h / 7 d", "Mute for a day", "failing"),
    "failuregroup/{group}/change/": ("Re-drive all", "Resolve", "Latest failure", "Cause"),
    "operation/": ("0 of 1 done", "Re-drive", "ada"),
    "operation/{operation}/change/": ("0 of 1 done", "Stop", "Stop refreshing", "Canary"),
    "pause/": ("Queue slow", "ada", "Resume"),
    "pause/{pause}/change/": ("slow", "Resume", "Paused at"),
    "pause/add/": ("Queue name", "Name", "Reason", "Save"),
}  # fmt: skip


@pytest.fixture
def rows(driver: Driver) -> Mapping[str, Any]:
    failed = tasks.fails_once_for_all.enqueue()
    driver.drain()
    tasks.echoes.enqueue(1)
    pauses.pause(queue_name="slow", by="ada", reason="it moves")
    operation = operations.start("REDRIVE", {"status": "FAILED"}, by="ada")
    return {
        "task": failed.id,
        "group": FailureGroup.objects.get().pk,
        "operation": operation.pk,
        "pause": Pause.objects.get().pk,
    }


def words(response: Any) -> str:
    assert response.status_code == 200, response
    page = re.sub(
        r"<style.*?</style>|<script.*?</script>", "", response.content.decode(), flags=re.S
    )
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", page)))


@pytest.mark.parametrize("page", SHOWN)
@pytest.mark.parametrize("site", SITES)
def test_a_page_is_complete(
    rows: Mapping[str, Any], admin_client: Client, site: str, page: str
) -> None:
    response = admin_client.get(f"/{site}/retrytasks/{page.format(**rows)}")

    shown = words(response).lower()
    assert [word for word in SHOWN[page] if word.lower() not in shown] == []
    assert b"unfold/css/styles.css" in response.content
    assert b"retrytasks/admin.css" in response.content


@pytest.mark.parametrize("site", SITES)
def test_a_verb_is_done_from_the_list(
    rows: Mapping[str, Any], admin_client: Client, site: str
) -> None:
    url = f"/{site}/retrytasks/task/"
    ticked = {"_selected_action": [rows["task"]]}

    assert "Affected Tasks" in words(admin_client.post(url, {"action": "discard", **ticked}))
    page = words(admin_client.post(f"{url}selected/discard/", ticked, follow=True))

    assert "1 Task discarded." in page
    assert Task.objects.get(pk=rows["task"]).status == Status.DISCARDED


@pytest.mark.parametrize("site", SITES)
def test_a_capped_count_is_told(
    rows: Mapping[str, Any], admin_client: Client, monkeypatch: pytest.MonkeyPatch, site: str
) -> None:
    monkeypatch.setattr(admin_tasks, "COUNT_LIMIT", 1)

    page = words(admin_client.get(f"/{site}/retrytasks/task/"))

    assert "There are more than 1 Tasks: only the first 1 are listed." in page


def test_the_system_checks_find_nothing() -> None:
    assert checks.run_checks(tags=[checks.Tags.admin], include_deployment_checks=False) == []
    assert [found for site in (shop,) for found in site.check(None)] == []
