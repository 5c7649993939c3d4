"""The admin of Tasks: their list with its additional columns, and the page of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.forms import Script
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.models import Status, Task
from django_retrytasks.operators import columns, selections, wording

from . import overview, task_page, words
from .filters import CHART_VAR, FILTERS, known_selection_of
from .task_actions import TaskActions

COUNT_LIMIT = 10_000


class CappedPaginator(Paginator):  # type: ignore[type-arg]  # generic only for mypy
    """Counts at most 10,001 rows, and pages through 10,000."""

    @cached_property
    def is_capped(self) -> bool:
        """Whether there are more than 10,000."""
        return self.counted > COUNT_LIMIT

    @cached_property
    def counted(self) -> int:
        """Return the number of rows, at most 10,001."""
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: COUNT_LIMIT + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self.counted, COUNT_LIMIT)


class TaskChangeList(ChangeList):
    """The Tasks of a selection, with additional columns for the rows of a page."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        lookups: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name != CHART_VAR}

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        tasks: Any = super().get_queryset(request, exclude_parameters)
        selection = known_selection_of(request)
        internal = selections.internal_of(selection)
        # The admin's hook get_search_results() has done the search.
        selection.pop("search", None)
        try:
            rows = selections.select(tasks, {**selection, "internal": internal})
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        narrowed: QuerySet[Any] = rows.defer(*columns.BIG)
        return narrowed

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        if selections.have_ended(known_selection_of(request)):
            return selections.LATEST_ENDED
        return super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_capped = getattr(self.paginator, "is_capped", False)
        if self.is_capped:
            # The search form would show a wrong count.
            self.full_result_count = self.result_count
        shown = list(self.result_list)
        columns.read(shown)
        self.result_list: Any = shown

    @cached_property
    def overview(self) -> dict[str, Any]:
        """Return the overview above the list."""
        scale = self.params.get(CHART_VAR, "")
        links = {name: self.get_query_string({CHART_VAR: name}) for name in overview.SCALES}
        return overview.read(scale, links)


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

    def get_page(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        page, links = task_page.page_of(task), self.get_links(task)
        return {**super().get_page(request, task), "page": page, "links": links}

    def get_links(self, task: Task) -> Sequence[tuple[str, str]]:
        """Return labels and URLs of links beside the headline of a Task's page."""
        return []

    @admin.display(description=_("name"))
    def short_name(self, task: Task) -> SafeString:
        return format_html('<span title="{}">{}</span>', task.name, words.short_path(task.name))

    @admin.display(description=_("arguments"))
    def arguments(self, task: Task) -> SafeString:
        return format_html("<code>{}</code>", getattr(task, columns.PREVIEW, ""))

    @admin.display(description=_("attempts"))
    def attempts_used(self, task: Task) -> str:
        return wording.attempts_used(task)

    @admin.display(description=_("last error"))
    def last_error(self, task: Task) -> SafeString:
        path: str = getattr(task, columns.LAST_ERROR)
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
        ended_at = getattr(task, DATABASE_NOW if is_running else columns.LAST_FINISHED)
        if task.last_attempted_at is None or ended_at is None:
            return "-"
        return wording.run_time(max(0.0, (ended_at - task.last_attempted_at).total_seconds()))
