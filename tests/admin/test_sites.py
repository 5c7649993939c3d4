"""The admin's pages on sites of other kinds."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.sites import DefaultAdminSite
from django.core.checks import CheckMessage
from django.test import Client
from django.urls import path

from django_retrytasks.admin import TaskAdmin
from django_retrytasks.models import Operation, Task
from tests.admin.pages import raw
from tests.admin.sites import CLASSES, crawled, kinds, site, targets
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.sites")]
VERBS = [verb.lower() for verb in Operation.VerbName]


class TestSites:
    def test_all_pages_and_links_stay_on_their_site(self, failed: Task, operator: Client) -> None:
        start = "/in/house/ops/"

        pages = crawled(operator, start)

        assert "Operations room" in pages[start]
        assert {url for text in pages.values() for url in targets(text)} - {"/"} == {
            url for text in pages.values() for url in targets(text) if url.startswith(start)
        }
        ours = {kind for kind in kinds(pages, start) if kind.startswith("retrytasks/")}
        assert ours == {
            "retrytasks/",
            "retrytasks/task/",
            "retrytasks/task/*/change/",
            "retrytasks/task/*/history/",
            *[f"retrytasks/task/*/do/{verb}/" for verb in VERBS],
            "retrytasks/failuregroup/",
            "retrytasks/failuregroup/*/change/",
            "retrytasks/failuregroup/*/history/",
            "retrytasks/operation/",
            "retrytasks/operation/*/change/",
            "retrytasks/operation/*/history/",
            "retrytasks/pause/",
            "retrytasks/pause/add/",
            "retrytasks/pause/*/change/",
            "retrytasks/worker/",
            "retrytasks/worker/*/change/",
            "retrytasks/worker/*/history/",
            "retrytasks/pause/*/history/",
        }
        assert (
            "https://runbook.example/tests.support.tasks.fails_once_for_all"
            in pages[f"{start}retrytasks/task/{failed.pk}/change/"]
        )

    @pytest.mark.parametrize("name", ["lonetasks", "lonegroups", "loneoperations", "othertasks"])
    def test_to_what_a_site_has_not_there_is_no_link(
        self, failed: Task, operator: Client, name: str
    ) -> None:
        start = f"/in/house/{name}/"

        pages = crawled(operator, start)

        assert len(pages) > 3
        linked = {url for text in pages.values() for url in targets(text)} - {"/"}
        assert [url for url in linked if not url.startswith(start)] == []
        assert [url for url in linked if "/task/all/" in url] == []

    def test_who_may_not_enter_is_led_to_the_login_of_that_site(
        self, failed: Task, admin_client: Client
    ) -> None:
        for url in ("task/", f"task/{failed.pk}/do/redrive/", "task/all/redrive/", "operation/"):
            response = admin_client.post(f"/in/house/ops/retrytasks/{url}")
            assert response["Location"].startswith("/in/house/ops/login/?next=/in/house/ops/")

    @pytest.mark.parametrize("kind", ["one", "selected", "all", "group"])
    def test_an_action_leads_back_to_its_site(
        self, failed: Task, operator: Client, driver: Driver, kind: str
    ) -> None:
        tasks_url = "/in/house/ops/retrytasks/task/"
        group = f"/in/house/ops/retrytasks/failuregroup/{failed.failure_group_id}/change/"
        [from_group] = re.findall(r'href="([^"]*/all/redrive/[^"]*)"', raw(operator, group))
        ticked = {"_selected_action": [str(failed.pk)]}
        data = {"action": "redrive", "select_across": "1", **ticked}
        from_all = operator.post(f"{tasks_url}?status=FAILED", data)["Location"]
        url, leads_to = {
            "one": (f"{tasks_url}{failed.pk}/do/redrive/", f"{tasks_url}{failed.pk}/change/"),
            "selected": (f"{tasks_url}selected/redrive/", tasks_url),
            "all": (from_all, "/in/house/ops/retrytasks/operation/"),
            "group": (html.unescape(from_group), "/in/house/ops/retrytasks/operation/"),
        }[kind]

        assert "Affected Tasks" in raw(operator, url.replace("selected/", f"{failed.pk}/do/"))
        response = operator.post(url, ticked)

        assert response["Location"].startswith(leads_to)
        assert raw(operator, response["Location"])

    def test_without_pages_for_operations_it_leads_to_the_list(
        self, failed: Task, operator: Client
    ) -> None:
        tasks_url = "/in/house/lonetasks/retrytasks/task/"

        assert operator.post(f"{tasks_url}all/redrive/")["Location"] == tasks_url

    def test_a_default_site_of_another_class(
        self, failed: Task, operator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = apps.get_app_config("admin")
        monkeypatch.setattr(config, "default_site", "tests.admin.sites.OpsSite")
        default = DefaultAdminSite()
        for model, cls in CLASSES.items():
            default.register(model, cls)
        monkeypatch.setattr("tests.admin.sites.urlpatterns", [path("ops/", default.urls)])

        pages = crawled(operator, "/ops/")

        assert f"/ops/retrytasks/task/{failed.pk}/do/redrive/" in pages
        assert "Operations room" in pages["/ops/"]


class EditableTaskAdmin(TaskAdmin):
    list_display: Any = ("name", "queue_name")
    list_editable = ("queue_name",)


class TestListEditable:
    def found(self, cls: type[TaskAdmin]) -> list[CheckMessage]:
        return [one for one in cls(Task, admin.site).check() if one.id == "retrytasks.E015"]

    def test_is_an_error(self) -> None:
        [error] = self.found(EditableTaskAdmin)

        assert "EditableTaskAdmin.list_editable is set" in error.msg
        assert self.found(TaskAdmin) == []

    def test_makes_no_form_of_the_list(
        self, failed: Task, admin_client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        editable = site("editable", {Task: EditableTaskAdmin}, admin.AdminSite)
        monkeypatch.setattr("tests.admin.sites.urlpatterns", [path("editable/", editable.urls)])
        url = "/editable/retrytasks/task/"
        form = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(failed.pk)}

        text = raw(admin_client, url)
        admin_client.post(url, {**form, "form-0-queue_name": "another", "_save": "Save"})

        assert 'name="_save"' not in text
        assert "form-0-queue_name" not in text
        assert not Task.objects.filter(queue_name="another").exists()
