"""The admin's pages for users who may do little."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.test import Client

from django_retrytasks.models import FailureGroup, Operation, Pause, Task, Worker
from tests.admin.pages import raw, user_who_may
from tests.admin.sites import CLASSES, crawled, kinds
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.sites")]
VERBS = [verb.lower() for verb in Operation.VerbName]


class TestPermissions:
    START = "/admin/"

    def stored(self) -> Any:
        models = (Task, FailureGroup, Operation, Pause, Worker)
        return [list(model._default_manager.order_by("pk").values()) for model in models]

    def forms(self, failed: Task) -> list[str]:
        """Return every address that changes something."""
        task, group = f"task/{failed.pk}/", f"failuregroup/{failed.failure_group_id}/"
        says = ("mute_for_an_hour", "mute_for_a_day", "mute", "resolve", "reopen")
        own = [
            *[f"{task}do/{verb}/" for verb in VERBS],
            *[f"task/selected/{verb}/" for verb in VERBS],
            *[f"task/all/{verb}/" for verb in VERBS],
            *[f"{group}say/{word}/" for word in says],
            f"operation/{Operation.objects.get().pk}/stop/",
            f"pause/{Pause.objects.get().pk}/resume/",
            "pause/add/",
        ]
        return [f"/admin/retrytasks/{url}" for url in [*own, *self.admins(failed)]]

    def admins(self, failed: Task) -> list[str]:
        """Return the addresses of Django's own forms, which are for nobody."""
        rows: dict[str, Any] = {
            "task": failed.pk,
            "failuregroup": failed.failure_group_id,
            "operation": Operation.objects.get().pk,
            "pause": Pause.objects.get().pk,
            "worker": quote(Worker.objects.get().pk),
        }
        forms = [
            f"{model}/{pk}/{what}/" for model, pk in rows.items() for what in ("change", "delete")
        ]
        return [*forms, "task/add/", "failuregroup/add/", "operation/add/", "worker/add/"]

    def test_who_may_view_alone_sees_all_and_does_nothing(self, failed: Task) -> None:
        client = user_who_may(*[f"view_{model._meta.model_name}" for model in CLASSES])
        before = self.stored()

        pages = crawled(client, self.START)

        assert {
            kind for kind in kinds(pages, "/admin/retrytasks/") if kind.endswith("/change/")
        } == {f"{model._meta.model_name}/*/change/" for model in CLASSES}
        text = "".join(pages.values())
        assert "formaction" not in text
        assert 'name="action"' not in text
        assert 'name="_save"' not in text
        assert "/do/" not in text
        form = {"_selected_action": [str(failed.pk)], "countdown": "60", "queue_name": "default"}
        refused = {url: client.post(url, form).status_code for url in self.forms(failed)}
        assert set(refused.values()) == {403}, refused
        for word in (*VERBS, "delete_selected"):
            client.post("/admin/retrytasks/task/", {"action": word, "select_across": "1", **form})
        assert self.stored() == before
        assert not LogEntry.objects.exists()

    def test_a_superuser_adds_edits_and_deletes_no_row(
        self, failed: Task, admin_client: Client
    ) -> None:
        before = self.stored()
        data = {"action": "delete_selected", "post": "yes", "_selected_action": [str(failed.pk)]}

        form = {"name": "another", "_save": "Save"}
        refused = [
            admin_client.post(f"/admin/retrytasks/{url}", form).status_code
            for url in self.admins(failed)
        ]
        admin_client.post("/admin/retrytasks/task/", data)

        assert set(refused) == {403}
        assert "delete_selected" not in raw(admin_client, "/admin/retrytasks/task/")
        assert self.stored() == before

    def test_who_may_nothing_sees_nothing(self, failed: Task) -> None:
        client = user_who_may()
        before = self.stored()

        assert kinds(crawled(client, self.START), self.START) == {""}
        lists = [f"/admin/retrytasks/{model._meta.model_name}/" for model in CLASSES]
        for url in [*lists, *self.forms(failed)]:
            assert client.get(url).status_code in (403, 405), url
            assert client.post(url, {"countdown": "60"}).status_code == 403, url
        assert self.stored() == before

    def test_a_visitor_is_asked_to_log_in(self, failed: Task, client: Client) -> None:
        before = self.stored()

        for url in self.forms(failed):
            assert client.get(url)["Location"] == f"/admin/login/?next={url}"
            assert client.post(url)["Location"] == f"/admin/login/?next={url}"
        assert self.stored() == before

    def test_an_operation_is_stopped_by_who_may_see_it_and_do_its_verb(
        self, failed: Task, driver: Driver
    ) -> None:
        operation = Operation.objects.get()
        url = f"/admin/retrytasks/operation/{operation.pk}/"
        client = user_who_may("redrive_task")
        assert client.post(f"{url}stop/").status_code == 403
        view = Permission.objects.filter(codename="view_operation")
        User.objects.get(username="ada").user_permissions.add(*view)

        assert f"{url}stop/" in raw(client, f"{url}change/")
        assert client.post(f"{url}stop/").status_code == 302

        operation.refresh_from_db()
        assert operation.status == Operation.Status.STOPPED
