"""The admin of Tasks: the list, and one Task with its attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.models import Status, Task
from django_retrytasks.operators import selections

from . import task_page, words
from .changelist import LAST_ERROR, LAST_FINISHED, PREVIEW, CappedPaginator, TaskChangeList
from .filters import FILTERS
from .task_actions import TaskActions


@admin.register(Task)
class TaskAdmin(TaskActions):
    """Browse Tasks: the list, and one Task with its attempts. No form changes them."""

    list_display: tuple[str, ...] = (
        "state",
        "short_name",
        "timing",
        "attempts_used",
        "last_error",
        "arguments",
        "duration",
        "queue",
    )
    list_display_links = ("short_name",)
    list_filter = FILTERS
    paginator = CappedPaginator
    # Rendering a row takes longer than finding it.
    list_per_page = 25
    ordering = ("-id",)
    search_fields = ("id", "search_key", "name")
    search_help_text = _(
        "An id, a search key, the beginning of a function's path or name, or a part of an error."
    )

    class Media:
        js = (Script("retrytasks/admin.js", defer=True),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return TaskChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by id, search key, function, then error; the first kind that matches wins."""
        if not search_term.strip():
            return queryset, False
        selection = {"internal": "all", "search": search_term}
        return selections.select(queryset, selection), False  # type: ignore[arg-type]

    def get_page(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        page, links = task_page.page_of(task), self.get_links(task)
        return {**super().get_page(request, task), "page": page, "links": links}

    def get_links(self, task: Task) -> Sequence[tuple[str, str]]:
        """Return labels and URLs of links beside the headline of a Task's page."""
        return []

    @admin.display(description=_("status"))
    def state(self, task: Task) -> SafeString:
        return words.pill(task.status, Status(task.status).label)

    @admin.display(description=_("name"))
    def short_name(self, task: Task) -> SafeString:
        return format_html('<span title="{}">{}</span>', task.name, words.short_path(task.name))

    @admin.display(description=_("arguments"))
    def arguments(self, task: Task) -> SafeString:
        return format_html("<code>{}</code>", getattr(task, PREVIEW, ""))

    @admin.display(description=_("attempts"))
    def attempts_used(self, task: Task) -> str:
        return words.attempts_used(task)

    @admin.display(description=_("last error"))
    def last_error(self, task: Task) -> SafeString:
        path: str = getattr(task, LAST_ERROR)
        return format_html('<span title="{}">{}</span>', path, path.rpartition(".")[2])

    @admin.display(description=_("queue"))
    def queue(self, task: Task) -> str:
        return task.queue_name

    @admin.display(description=_("when"))
    def timing(self, task: Task) -> SafeString:
        return words.timing(task)

    @admin.display(description=_("duration"))
    def duration(self, task: Task) -> str:
        """Return the run time of the last attempt, or of the running one so far."""
        is_running = task.status == Status.RUNNING
        ended_at = getattr(task, DATABASE_NOW if is_running else LAST_FINISHED)
        if task.last_attempted_at is None or ended_at is None:
            return "-"
        return words.run_time(max(0.0, (ended_at - task.last_attempted_at).total_seconds()))
