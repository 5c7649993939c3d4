"""The list of Tasks: which rows, how many, and what is read along with them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    TaskPaginator = Paginator[Task]
else:
    TaskPaginator = Paginator

LAST_ERROR = "last_error_path"
LAST_FINISHED = "last_attempt_finished_at"
PREVIEW = "arguments_preview"
# A single value of these may take a megabyte.
BIG_COLUMNS = ("args", "kwargs", "options", "return_value")
# Characters of stored arguments up to which they are read, and of their preview.
ARGUMENTS_READ = 4000
PREVIEW_WIDTH = 80
COUNT_LIMIT = 10_000


class CappedPaginator(TaskPaginator):
    """Counts no further than to 10,001, and pages through 10,000."""

    @cached_property
    def is_capped(self) -> bool:
        """Whether there are more than 10,000."""
        return self.counted > COUNT_LIMIT

    @cached_property
    def counted(self) -> int:
        """Return how many there are, counted up to 10,001."""
        rows: Any = self.object_list
        return int(rows.order_by().values("pk")[: COUNT_LIMIT + 1].count())

    @cached_property
    def count(self) -> int:
        return min(self.counted, COUNT_LIMIT)


class TaskChangeList(ChangeList):
    """The Tasks of a selection, with what is read along for the rows of a page."""

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        lookups: dict[str, Any] = super().get_filters_params(params)
        return {name: value for name, value in lookups.items() if name != CHART_VAR}

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        found: Any = super().get_queryset(request, exclude_parameters)
        asked = known_selection_of(request)
        internal = selections.internal_of(asked)
        asked.pop("search", None)
        try:
            # The search is done by then: get_search_results() is the admin's hook for it.
            rows = selections.select(found, {**asked, "internal": internal})
        except ValueError as error:
            raise IncorrectLookupParameters(error) from error
        narrowed: QuerySet[Any] = rows.defer(*BIG_COLUMNS)
        return narrowed

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Return the latest first: by what ended last, where all have ended."""
        has_ended = known_selection_of(request).get("status") in FINAL
        return ["-finished_at", "-pk"] if has_ended else super().get_ordering(request, queryset)

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.is_capped = getattr(self.paginator, "is_capped", False)
        if self.is_capped:
            # The search form would tell a count that is none.
            self.full_result_count = self.result_count
        shown = list(self.result_list)
        _read_along(shown)
        self.result_list: Any = shown

    @cached_property
    def overview(self) -> overview.Overview:
        """Return what stands above the list."""
        asked = self.params.get(CHART_VAR, "")
        links = {name: self.get_query_string({CHART_VAR: name}) for name in overview.SCALES}
        return overview.read(asked, links)


def _read_along(tasks: Sequence[Task]) -> None:
    """Set what a row tells beside its Task's own columns, read for all rows by one query."""
    attempts = Attempt.objects.filter(task=OuterRef("pk"))
    errors = attempts.exclude(exception_class_path="").order_by("-number")
    last = attempts.filter(number=OuterRef("attempt_count"))
    rows = Task.objects.filter(pk__in=[task.pk for task in tasks])
    told = rows.alias(size=Length(F("args")) + Length(F("kwargs"))).values_list(
        "pk",
        first(errors, "exception_class_path"),
        first(last, "finished_at"),
        Case(When(size__lte=ARGUMENTS_READ, then=F("args"))),
        Case(When(size__lte=ARGUMENTS_READ, then=F("kwargs"))),
    )
    found = {pk: values for pk, *values in told}
    for task in tasks:
        error, finished_at, args, kwargs = found.get(task.pk, (None, None, None, None))
        setattr(task, LAST_ERROR, error or "")
        setattr(task, LAST_FINISHED, finished_at)
        setattr(task, PREVIEW, _preview(task, args, kwargs))


def _preview(task: Task, args: Any, kwargs: Any) -> str:
    """Return a Task's redacted arguments in a line; those that are long have not been read."""
    if args is None or kwargs is None:
        return gettext("many: see its page")
    task.args, task.kwargs = args, kwargs
    arguments = redaction.shown_arguments(task).items()
    line = ", ".join(f"{name}={_written(value)}" for name, value in arguments)
    return Truncator(storable(line, 2 * ARGUMENTS_READ)).chars(PREVIEW_WIDTH)


def _written(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
