"""What the page of a Task leads to and who has changed it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.urls import path

from django_retrytasks.admin import TaskAdmin
from django_retrytasks.models import Task
from tests.admin.pages import GROUPS, group_page, page_of, raw, shown, text_of
from tests.admin.stored import fail, log
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


class LinkingTaskAdmin(TaskAdmin):
    def get_links(self, task: Task) -> Sequence[tuple[str, str]]:
        return [("Open <it>", f"https://logs.example/?a=1&q={task.pk}")]


own_site = admin.AdminSite(name="own")
own_site.register(Task, LinkingTaskAdmin)
urlpatterns = [path("own/", own_site.urls), path("admin/", admin.site.urls)]


class TestTaskPage:
    def test_leads_to_its_failure_group(self, driver: Driver, admin_client: Client) -> None:
        [result] = fail(driver)

        page = raw(admin_client, page_of(result))

        name = "ValueError in tests.support.tasks.fails_once_for_all"
        assert f'<a href="{group_page()}">{name}</a>' in page

    def test_names_the_group_to_who_may_not_see_it(self, driver: Driver, client: Client) -> None:
        [result] = fail(driver)
        viewer = User.objects.create_user("viewer", is_staff=True)
        viewer.user_permissions.add(
            Permission.objects.get(codename="view_task", content_type__app_label="retrytasks")
        )
        client.force_login(viewer)

        page = raw(client, page_of(result))

        assert "Failure group: ValueError in tests.support.tasks.fails_once_for_all" in text_of(
            page
        )
        assert GROUPS not in page

    def test_tells_what_operators_did_the_latest_first(
        self, driver: Driver, admin_client: Client, admin_user: User
    ) -> None:
        [result, other] = fail(driver, 2)
        task = driver.row(result)
        log(task, admin_user, "Re-driven: <b>the server</b> is back")
        log(task, admin_user, "Discarded: not worth it")
        log(driver.row(other), admin_user, "of another Task")

        text = shown(admin_client, page_of(result))

        assert re.search(
            r"Actions of operators [\d: -]{19} admin Discarded: not worth it "
            r"[\d: -]{19} admin Re-driven: <b>the server</b> is back Policy",
            text,
        )
        assert "of another Task" not in text

    def test_without_actions_there_is_no_such_section(self, admin_client: Client) -> None:
        text = shown(admin_client, page_of(tasks.succeeds.enqueue()))

        assert "Actions of operators" not in text

    @pytest.mark.urls(__name__)
    def test_shows_the_links_of_a_subclass_beside_the_headline(
        self, driver: Driver, admin_client: Client
    ) -> None:
        [result] = fail(driver)

        page = raw(admin_client, f"/own/retrytasks/task/{result.id}/change/")

        url = f"https://logs.example/?a=1&amp;q={result.id}"
        assert f'<a href="{url}">Open &lt;it&gt;</a>' in page
        # That site has no page of failure groups.
        assert "Failure group: ValueError in " in text_of(page)
        assert "/failuregroup/" not in page

    def test_a_sites_template_may_fill_a_block(
        self, driver: Driver, admin_client: Client, settings: Any, tmp_path: Path
    ) -> None:
        [result] = fail(driver)
        for name, block in (("task", "rt_arguments"), ("failuregroup", "rt_sample")):
            template = tmp_path / "admin" / "retrytasks" / name / "change_form.html"
            template.parent.mkdir(parents=True)
            template.write_text(
                f'{{% extends "admin/retrytasks/{name}/change_form.html" %}}'
                f"{{% block {block} %}}Read the runbook.{{{{ block.super }}}}{{% endblock %}}"
            )
        settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]

        assert "Read the runbook. Arguments" in shown(admin_client, page_of(result))
        assert "Read the runbook. Latest failure" in shown(admin_client, group_page())
