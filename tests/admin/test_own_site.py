"""Actions on an admin site of the project's own."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.http import HttpRequest
from django.test import Client
from django.urls import path

from django_retrytasks.admin import FailureGroupAdmin, TaskAdmin
from django_retrytasks.models import FailureGroup, Operation, Task
from tests.admin.actions import sends, text_of
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("_no_alerts")]


class OwnTaskAdmin(TaskAdmin):
    def get_list_filter(self, request: HttpRequest) -> Any:
        return [*super().get_list_filter(request), "priority"]


own_site = admin.AdminSite(name="own")
own_site.register(Task, OwnTaskAdmin)
own_site.register(FailureGroup, FailureGroupAdmin)
urlpatterns = [path("own/", own_site.urls)]


@pytest.mark.urls("tests.admin.test_own_site")
def test_another_site_leads_to_pages_of_its_own(
    driver: Driver, group: FailureGroup, admin_client: Client
) -> None:
    task = Task.objects.filter(name=sends.module_path).first()
    assert task is not None
    url = f"/own/retrytasks/task/{task.pk}/"

    assert f"{url}do/redrive/" in admin_client.get(f"{url}change/").content.decode()
    response = admin_client.post(f"{url}do/redrive/")
    assert response["Location"] == f"{url}change/"
    page = admin_client.get(f"/own/retrytasks/failuregroup/{group.pk}/change/").content.decode()
    assert "/own/retrytasks/task/all/redrive/" in page
    started = admin_client.post("/own/retrytasks/task/all/discard/")
    assert started["Location"] == "/own/retrytasks/task/"


@pytest.mark.urls("tests.admin.test_own_site")
def test_a_filter_that_no_selection_can_say_is_told_not_ignored(
    group: FailureGroup, admin_client: Client
) -> None:
    task = str(Task.objects.order_by("pk")[0].pk)
    form = {"action": "discard", "index": "0", "select_across": "1", "_selected_action": task}

    url = "/own/retrytasks/task/?priority=0"
    page = text_of(admin_client.post(url, form, follow=True))

    assert "selection cannot contain priority" in page
    assert not Operation.objects.exists()
