"""The list of Tasks: its rows, their count, and their additional columns."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import Case, F, OuterRef, QuerySet, When
from django.db.models.functions import Length
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.text import Truncator
from django.utils.translation import gettext

from django_retrytasks.database.seeks import first
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import FINAL, Attempt, Task
from django_retrytasks.operators import selections
from django_retrytasks.tasks import redaction

from . import overview
from .filters import CHART_VAR, known_selection_of

LAST_ERROR = "last_error_path"
LAST_FINISHED = "last_attempt_finished_at"
PREVIEW = "arguments_preview"
# A single value may take a megabyte.
BIG_COLUMNS = ("args", "kwargs", "options", "return_value")
# Most characters of arguments that are read, and of their preview.
ARGUMENTS_READ = 4000
PREVIEW_WIDTH = 80
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
        narrowed: QuerySet[Any] = rows.defer(*BIG_COLUMNS)
        return narrowed

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Return the order, latest first: by the end if all Tasks have ended."""
        has_ended = known_selection_of(request).get("status") in FINAL
        return ["-finished_at", "-pk"] if has_ended else super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_capped = getattr(self.paginator, "is_capped", False)
        if self.is_capped:
            # The search form would show a wrong count.
            self.full_result_count = self.result_count
        shown = list(self.result_list)
        _set_columns(shown)
        self.result_list: Any = shown

    @cached_property
    def overview(self) -> dict[str, Any]:
        """Return the overview above the list."""
        scale = self.params.get(CHART_VAR, "")
        links = {name: self.get_query_string({CHART_VAR: name}) for name in overview.SCALES}
        return overview.read(scale, links)


def _set_columns(tasks: Sequence[Task]) -> None:
    """Set the additional columns of each Task, read for all rows by one query."""
    attempts = Attempt.objects.filter(task=OuterRef("pk"))
    errors = attempts.exclude(exception_class_path="").order_by("-number")
    last = attempts.filter(number=OuterRef("attempt_count"))
    rows = Task.objects.filter(pk__in=[task.pk for task in tasks])
    columns = rows.alias(size=Length(F("args")) + Length(F("kwargs"))).values_list(
        "pk",
        first(errors, "exception_class_path"),
        first(last, "finished_at"),
        Case(When(size__lte=ARGUMENTS_READ, then=F("args"))),
        Case(When(size__lte=ARGUMENTS_READ, then=F("kwargs"))),
    )
    by_pk = {pk: values for pk, *values in columns}
    for task in tasks:
        error, finished_at, args, kwargs = by_pk.get(task.pk, (None, None, None, None))
        setattr(task, LAST_ERROR, error or "")
        setattr(task, LAST_FINISHED, finished_at)
        setattr(task, PREVIEW, _preview(task, args, kwargs))


def _preview(task: Task, args: Any, kwargs: Any) -> str:
    """Return a Task's redacted arguments in a line; long arguments are not read."""
    if args is None or kwargs is None:
        return gettext("too long: see its page")
    task.args, task.kwargs = args, kwargs
    arguments = redaction.shown_arguments(task).items()
    line = ", ".join(f"{name}={_written(value)}" for name, value in arguments)
    return Truncator(storable(line, 2 * ARGUMENTS_READ)).chars(PREVIEW_WIDTH)


def _written(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
