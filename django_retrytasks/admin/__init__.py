"""Tasks, their attempts and failure groups in the admin.

A site with an admin of its own registers them there: ``site.register(Task, TaskAdmin)`` and
``site.register(FailureGroup, FailureGroupAdmin)``.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import CharField, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_retrytasks import wakeups
from django_retrytasks.models import Attempt, DatabaseNow, Task

from . import page, words
from .filters import InternalFilter, QueueFilter
from .groups import FailureGroupAdmin

if TYPE_CHECKING:
    TaskModelAdmin = admin.ModelAdmin[Task]
else:
    TaskModelAdmin = admin.ModelAdmin

__all__ = ["FailureGroupAdmin", "TaskAdmin"]

LAST_ERROR = "last_error_path"
# A single value of these may take a megabyte; the list shows none of them.
BIG_COLUMNS = ("args", "kwargs", "options", "return_value")


class TaskChangeList(ChangeList):
    """The list of Tasks: no big columns, and the last error read along with each row."""

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        tasks = super().get_queryset(request, exclude_parameters).defer(*BIG_COLUMNS)
        failures = Attempt.objects.filter(task=OuterRef("pk")).exclude(exception_class_path="")
        latest = failures.order_by("-number").values("exception_class_path")[:1]
        last_error = Subquery(latest, output_field=CharField())
        rows: QuerySet[Any] = tasks.annotate(**{LAST_ERROR: last_error})
        return rows


@admin.register(Task)
class TaskAdmin(TaskModelAdmin):
    """Browse Tasks: the list, and one Task with its attempts. Nothing can be changed here."""

    list_display = ("state", "short_name", "timing", "attempts_used", "last_error", "queue")
    list_display_links = ("short_name",)
    list_filter = ("status", QueueFilter, InternalFilter)
    ordering = ("-id",)
    search_fields = ("id", "name")
    search_help_text = _("An id, or how a function's path or name begins.")
    # Each would read the whole table: the full count, the count per filter, a sort by a column
    # without an index.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ()

    class Media:
        css = {"all": ("retrytasks/admin.css",)}  # noqa: RUF012

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Task | None = None) -> bool:
        return False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TaskChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        rows = super().get_queryset(request).using(wakeups.alias())
        return rows.annotate(**{words.NOW: DatabaseNow()})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Find an id by its index, else names of which the path or a part of it begins so."""
        term = search_term.strip()
        try:
            return queryset.filter(pk=uuid.UUID(term)), False
        except ValueError:
            begins = Q(name__startswith=term) | Q(name__contains=f".{term}")
            return (queryset.filter(begins) if term else queryset), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["page"] = page.of(context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("status"))
    def state(self, task: Task) -> SafeString:
        return words.pill(task.status, task.get_status_display())

    @admin.display(description=_("name"))
    def short_name(self, task: Task) -> SafeString:
        return format_html('<span title="{}">{}</span>', task.name, words.short_path(task.name))

    @admin.display(description=_("attempts"))
    def attempts_used(self, task: Task) -> str:
        return words.attempts_used(task)

    @admin.display(description=_("last error"))
    def last_error(self, task: Task) -> SafeString:
        path = getattr(task, LAST_ERROR) or ""
        return format_html('<span title="{}">{}</span>', path, path.rpartition(".")[2])

    @admin.display(description=_("queue"))
    def queue(self, task: Task) -> str:
        return task.queue_name

    @admin.display(description=_("when"))
    def timing(self, task: Task) -> SafeString:
        return words.timing(task)
