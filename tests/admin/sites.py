"""Sites of other kinds than the default one, and ways through their pages."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from django.contrib import admin
from django.http import HttpRequest
from django.test import Client
from django.urls import path

from django_retrytasks.admin import (
    FailureGroupAdmin,
    OperationAdmin,
    PauseAdmin,
    TaskAdmin,
    WorkerAdmin,
)
from django_retrytasks.models import FailureGroup, Operation, Pause, Task, Worker
from django_retrytasks.operators.selections import Selection
from tests.admin.pages import raw

CLASSES: Mapping[Any, Any] = {
    Task: TaskAdmin,
    FailureGroup: FailureGroupAdmin,
    Operation: OperationAdmin,
    Pause: PauseAdmin,
    Worker: WorkerAdmin,
}


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


def crawled(client: Client, start: str) -> dict[str, str]:
    """Return the pages that are reached by links from one of a site, each page once."""
    found: dict[str, str] = {}
    waiting = [start]
    while waiting:
        url = waiting.pop()
        if url in found:
            continue
        found[url] = raw(client, url)
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


# The key of a row in an address: an id, or the name of a worker.
ROW = re.compile(r"/[0-9a-f-]{36}/|/\d+/|/[^/]+_3A[^/]+/")


def kinds(urls: Any, start: str) -> set[str]:
    """Return what pages there are, the keys of rows left out of their addresses."""
    return {re.sub(ROW, "/*/", url.removeprefix(start)) for url in urls}
