"""The admin's pages on sites of other kinds, under subclasses, and for users who may do little."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.sites import DefaultAdminSite
from django.contrib.auth.models import Group, Permission, User
from django.core.checks import CheckMessage
from django.http import HttpRequest
from django.test import Client
from django.urls import path

from django_retrytasks.admin import FailureGroupAdmin, OperationAdmin, PauseAdmin, TaskAdmin
from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import FailureGroup, Operation, Pause, Status, Task
from django_retrytasks.operators import operations
from django_retrytasks.operators.selections import Selection
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.admin.test_sites")]

CLASSES: Mapping[Any, Any] = {
    Task: TaskAdmin,
    FailureGroup: FailureGroupAdmin,
    Operation: OperationAdmin,
    Pause: PauseAdmin,
}
VERBS = [verb.lower() for verb in Operation.VerbName]


class OpsSite(admin.AdminSite):
    """Another index, and other users than the staff."""

    index_title = "Operations room"

    def has_permission(self, request: HttpRequest) -> bool:
        return request.user.groups.filter(name="ops").exists()


class LinkingTaskAdmin(TaskAdmin):
    def get_links(self, task: Task) -> list[tuple[str, str]]:
        return [("Runbook", f"https://runbook.example/{task.name}")]


class QueueTaskAdmin(TaskAdmin):
    """Those of one queue."""

    def get_selection(self, request: HttpRequest) -> Selection:
        return {"queue_name": "orders"}


class InternalTaskAdmin(TaskAdmin):
    """Those that the list leaves out unless asked for them."""

    def get_selection(self, request: HttpRequest) -> Selection:
        return {"internal": "yes"}


class ScopedTaskAdmin(TaskAdmin):
    """Narrowed where no operation can know it."""

    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(queue_name="orders")


class OfOrders(admin.ModelAdmin):  # type: ignore[type-arg]
    def get_queryset(self, request: HttpRequest) -> Any:
        return super().get_queryset(request).filter(queue_name="orders")


class MixedTaskAdmin(TaskAdmin, OfOrders):
    """Narrowed by a class that comes after ours."""


class DiscreetTaskAdmin(TaskAdmin):
    """Some Tasks are not for everybody."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and (
            obj is None or obj.queue_name == "orders"
        )


class DiscreetGroupAdmin(FailureGroupAdmin):
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and obj is None


class DiscreetPauseAdmin(PauseAdmin):
    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) and obj is None


class SearchingTaskAdmin(TaskAdmin):
    """Its search means a queue."""

    def get_search_results(self, request: HttpRequest, queryset: Any, search_term: str) -> Any:
        return queryset.filter(queue_name=search_term), False


def site(name: str, classes: Mapping[Any, Any], kind: type[admin.AdminSite] = OpsSite) -> Any:
    made = kind(name=name)
    for model, cls in classes.items():
        made.register(model, cls)
    return made


ops = site("ops", {**CLASSES, Task: LinkingTaskAdmin})
SITES = {
    "ops": ops,
    "lonetasks": site("lonetasks", {Task: TaskAdmin}),
    "lonegroups": site("lonegroups", {FailureGroup: FailureGroupAdmin}),
    "loneoperations": site("loneoperations", {Operation: OperationAdmin}),
    "othertasks": site("othertasks", {**CLASSES, Task: admin.ModelAdmin}),
    "queue": site("queue", {**CLASSES, Task: QueueTaskAdmin}),
    "internal": site("internal", {**CLASSES, Task: InternalTaskAdmin}),
    "scoped": site("scoped", {**CLASSES, Task: ScopedTaskAdmin}),
    "mixed": site("mixed", {**CLASSES, Task: MixedTaskAdmin}),
    "discreet": site(
        "discreet",
        {
            **CLASSES,
            Task: DiscreetTaskAdmin,
            FailureGroup: DiscreetGroupAdmin,
            Pause: DiscreetPauseAdmin,
        },
    ),
    "searching": site("searching", {**CLASSES, Task: SearchingTaskAdmin}),
}
urlpatterns = [
    path("admin/", admin.site.urls),
    *[path(f"in/house/{name}/", made.urls) for name, made in SITES.items()],
]


@pytest.fixture
def failed(driver: Driver) -> Task:
    """A failed Task, and one row at least of all else that has pages."""
    result = tasks.fails_once_for_all.enqueue()
    driver.drain()
    tasks.echoes.enqueue(1)
    pauses.pause(queue_name="slow", by="ada")
    operations.start("REDRIVE", {"status": "FAILED"}, by="ada")
    return driver.row(result)


@pytest.fixture
def operator() -> Client:
    """Who may do all, on sites that are for who is in the group "ops", the staff or not."""
    user = User.objects.create_user("olga", is_superuser=True)
    user.groups.add(Group.objects.create(name="ops"))
    return logged_in(user)


def logged_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def user_who_may(*codenames: str) -> Client:
    user = User.objects.create_user("ada", is_staff=True)
    ours = Permission.objects.filter(content_type__app_label="retrytasks")
    user.user_permissions.set(ours.filter(codename__in=codenames))
    return logged_in(user)


def page(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200, (url, response)
    return response.content.decode()


def words(text: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text)))


def crawled(client: Client, start: str) -> dict[str, str]:
    """Return the pages that are reached by links from one of a site, each page once."""
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        url = waiting.pop()
        if url in found:
            continue
        found[url] = page(client, url)
        for link in re.findall(r'<a\b[^>]*?href="([^"#]+)"', found[url]):
            target = urlsplit(urljoin(url, html.unescape(link)))
            # Filters lead back to the list they are of.
            is_page = target.path.startswith("/") and "password" not in target.path
            if is_page and target.path != "/" and not (target.netloc or target.query):
                waiting.append(target.path)
    return found


def targets(text: str) -> set[str]:
    """Return where a page leads to, and posts to, on this host."""
    named = re.findall(r'(?:href|action|formaction)="(/[^"]*)"', text)
    return {url for url in named if not url.startswith("/static/")}


def kinds(urls: Any, start: str) -> set[str]:
    """Return what pages there are, the keys of rows left out of their addresses."""
    return {re.sub(r"/[0-9a-f-]{36}/|/\d+/", "/*/", url.removeprefix(start)) for url in urls}


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
        [from_group] = re.findall(r'href="([^"]*/all/redrive/[^"]*)"', page(operator, group))
        ticked = {"_selected_action": [str(failed.pk)]}
        data = {"action": "redrive", "select_across": "1", **ticked}
        from_all = operator.post(f"{tasks_url}?status=FAILED", data)["Location"]
        url, leads_to = {
            "one": (f"{tasks_url}{failed.pk}/do/redrive/", f"{tasks_url}{failed.pk}/change/"),
            "selected": (f"{tasks_url}selected/redrive/", tasks_url),
            "all": (from_all, "/in/house/ops/retrytasks/operation/"),
            "group": (html.unescape(from_group), "/in/house/ops/retrytasks/operation/"),
        }[kind]

        assert "What is changed" in page(operator, url.replace("selected/", f"{failed.pk}/do/"))
        response = operator.post(url, ticked)

        assert response["Location"].startswith(leads_to)
        assert page(operator, response["Location"])

    def test_without_pages_for_operations_it_leads_to_the_list(
        self, failed: Task, operator: Client
    ) -> None:
        tasks_url = "/in/house/lonetasks/retrytasks/task/"

        assert operator.post(f"{tasks_url}all/redrive/")["Location"] == tasks_url

    def test_a_default_site_of_another_class(
        self, failed: Task, operator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = apps.get_app_config("admin")
        monkeypatch.setattr(config, "default_site", "tests.admin.test_sites.OpsSite")
        default = DefaultAdminSite()
        for model, cls in CLASSES.items():
            default.register(model, cls)
        monkeypatch.setattr("tests.admin.test_sites.urlpatterns", [path("ops/", default.urls)])

        pages = crawled(operator, "/ops/")

        assert f"/ops/retrytasks/task/{failed.pk}/do/redrive/" in pages
        assert "Operations room" in pages["/ops/"]


class TestNarrowed:
    @pytest.fixture
    def two(self, driver: Driver) -> tuple[Task, Task]:
        """A Task of the queue that a subclass is about, and one of another queue; both failed."""
        rows = [
            driver.task_in(Status.FAILED),
            driver.task_in(Status.FAILED),
        ]
        Task.objects.filter(pk=rows[0].pk).update(queue_name="orders")
        return driver.row(rows[0]), driver.row(rows[1])

    @pytest.mark.parametrize("name", ["queue", "scoped", "mixed"])
    def test_other_tasks_are_neither_seen_nor_changed(
        self, two: tuple[Task, Task], driver: Driver, operator: Client, name: str
    ) -> None:
        own, other = two
        url = f"/in/house/{name}/retrytasks/task/"

        shown = page(operator, url)
        assert str(own.pk) in shown
        assert str(other.pk) not in shown
        # As the admin answers for a row that is not there.
        assert operator.get(f"{url}{other.pk}/change/").status_code == 302
        operator.post(f"{url}{other.pk}/do/discard/")
        both = {"_selected_action": [str(own.pk), str(other.pk)]}
        asked = operator.post(url, {"action": "discard", **both})
        assert "of 2 selected" in words(asked.content.decode())
        done = operator.post(f"{url}selected/discard/", both, follow=True)

        assert "1 Task discarded. 1 skipped: 1 gone." in words(done.content.decode())
        assert driver.row(own).status == Status.DISCARDED
        assert driver.row(other).status == Status.FAILED

    def test_an_operation_keeps_to_the_selection(
        self, two: tuple[Task, Task], driver: Driver, operator: Client
    ) -> None:
        own, other = two
        url = "/in/house/queue/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(own.pk)]}

        asked = operator.post(f"{url}?status=FAILED", data)["Location"]
        assert "queue_name=orders" in asked
        assert "Tasks 1 Oldest" in words(page(operator, asked))
        # Forged: without what the subclass adds.
        operator.post(f"{url}all/discard/?status=FAILED")
        driver.run_internal()

        assert Operation.objects.get().selection == {"status": "FAILED", "queue_name": "orders"}
        assert driver.row(own).status == Status.DISCARDED
        assert driver.row(other).status == Status.FAILED

    @pytest.mark.parametrize("query", ["queue_name=default", "queue_name=default&status=FAILED"])
    def test_what_is_not_there_cannot_be_asked_for(
        self, two: tuple[Task, Task], operator: Client, query: str
    ) -> None:
        url = "/in/house/queue/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(f"{url}?{query}", data, follow=True)
        forged = operator.post(f"{url}all/discard/?{query}")

        assert "0 tasks" in words(page(operator, f"{url}?{query}")).lower()
        assert "Here queue_name is 'orders', not 'default'" in words(told.content.decode())
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_what_the_list_leaves_out_is_not_changed(
        self, two: tuple[Task, Task], operator: Client
    ) -> None:
        url = "/in/house/internal/retrytasks/task/"
        assert Task.objects.filter(internal=True).exists()

        assert "0 tasks" in words(page(operator, url)).lower()
        assert operator.post(f"{url}all/discard/").status_code == 400
        assert operator.post(f"{url}all/discard/?internal=yes").status_code == 302

        assert Operation.objects.get().selection == {"internal": "yes"}

    @pytest.mark.parametrize("name", ["scoped", "mixed"])
    def test_a_queryset_that_no_selection_tells_is_not_for_all_that_match(
        self, two: tuple[Task, Task], operator: Client, name: str
    ) -> None:
        url = f"/in/house/{name}/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(url, data, follow=True)
        forged = operator.post(f"{url}all/discard/")

        assert "get_queryset narrows the list; let get_selection say how" in words(
            told.content.decode()
        )
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_a_task_that_may_not_be_viewed_is_not_changed(
        self, two: tuple[Task, Task], driver: Driver, operator: Client
    ) -> None:
        own, other = two
        url = "/in/house/discreet/retrytasks/task/"
        both = {"_selected_action": [str(own.pk), str(other.pk)]}

        assert operator.get(f"{url}{other.pk}/change/").status_code == 403
        assert operator.get(f"{url}{other.pk}/do/discard/").status_code == 403
        assert operator.post(f"{url}{other.pk}/do/discard/").status_code == 403
        assert operator.post(f"{url}selected/discard/", both).status_code == 403
        assert operator.post(url, {"action": "discard", **both}).status_code == 403
        operator.post(f"{url}{own.pk}/do/discard/")

        assert driver.row(other).status == Status.FAILED
        assert driver.row(own).status == Status.DISCARDED

    def test_a_search_of_the_sites_own_is_not_for_all_that_match(
        self, two: tuple[Task, Task], operator: Client
    ) -> None:
        url = "/in/house/searching/retrytasks/task/"
        data = {"action": "discard", "select_across": "1", "_selected_action": [str(two[0].pk)]}

        told = operator.post(f"{url}?q=orders", data, follow=True)
        forged = operator.post(f"{url}all/discard/?search=orders")

        assert "get_search_results searches otherwise" in words(told.content.decode())
        assert forged.status_code == 400
        assert not Operation.objects.exists()

    def test_a_search_that_finds_nothing_begins_no_operation(self, operator: Client) -> None:
        url = "/in/house/ops/retrytasks/task/all/discard/?search=nowhere"

        assert operator.post(url).status_code == 400
        assert not Operation.objects.exists()

    def test_of_a_group_and_a_pause_that_may_not_be_viewed_nothing_is_said(
        self, failed: Task, operator: Client
    ) -> None:
        group, pause = FailureGroup.objects.get(), Pause.objects.get()
        pages = "/in/house/discreet/retrytasks/"
        mute = {"action": "mute", "_selected_action": [str(group.pk)]}
        resume = {"action": "resume", "_selected_action": [str(pause.pk)]}

        answers = [
            operator.post(f"{pages}failuregroup/{group.pk}/say/mute/"),
            operator.post(f"{pages}failuregroup/", mute),
            operator.post(f"{pages}pause/{pause.pk}/resume/"),
            operator.post(f"{pages}pause/", resume),
        ]

        assert [answer.status_code for answer in answers] == [403] * 4
        group.refresh_from_db()
        assert group.status == FailureGroup.Status.OPEN
        assert Pause.objects.exists()


class TestPermissions:
    START = "/admin/"

    def stored(self) -> Any:
        models = (Task, FailureGroup, Operation, Pause)
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
        }
        forms = [
            f"{model}/{pk}/{what}/" for model, pk in rows.items() for what in ("change", "delete")
        ]
        return [*forms, "task/add/", "failuregroup/add/", "operation/add/"]

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
        assert "delete_selected" not in page(admin_client, "/admin/retrytasks/task/")
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

        assert f"{url}stop/" in page(client, f"{url}change/")
        assert client.post(f"{url}stop/").status_code == 302

        operation.refresh_from_db()
        assert operation.status == Operation.Status.STOPPED


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
        monkeypatch.setattr(
            "tests.admin.test_sites.urlpatterns", [path("editable/", editable.urls)]
        )
        url = "/editable/retrytasks/task/"
        form = {"form-TOTAL_FORMS": "1", "form-INITIAL_FORMS": "1", "form-0-id": str(failed.pk)}

        text = page(admin_client, url)
        admin_client.post(url, {**form, "form-0-queue_name": "another", "_save": "Save"})

        assert 'name="_save"' not in text
        assert "form-0-queue_name" not in text
        assert not Task.objects.filter(queue_name="another").exists()
