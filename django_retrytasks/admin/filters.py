"""The filters beside the list of Tasks; none reads the whole table for its choices.

Each filter is a condition of a selection, so the list's URL is a selection. The list applies all
conditions at once, in its queryset.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Any

from django.contrib import admin
from django.contrib.admin.options import IS_FACETS_VAR, IS_POPUP_VAR, TO_FIELD_VAR
from django.contrib.admin.views.main import ALL_VAR, ERROR_FLAG, ORDER_VAR, PAGE_VAR, SEARCH_VAR
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks.lifecycle import lanes
from django_retrytasks.models import FailureGroup, Status
from django_retrytasks.operators.selections import NARROWS, Selection
from django_retrytasks.tasks import discovery

from .words import short_path

CHOICES_SHOWN = 50
# The chart above the list.
CHART_VAR = "chart"
# Parameters of the list's URL that change the display, not the selection.
DISPLAY_VARS = {
    ALL_VAR,
    CHART_VAR,
    ERROR_FLAG,
    IS_FACETS_VAR,
    IS_POPUP_VAR,
    ORDER_VAR,
    PAGE_VAR,
    TO_FIELD_VAR,
}


def selection_of(request: HttpRequest) -> Selection:
    """Return the selection in the list's URL.

    Raises:
        ValueError: the URL has a filter that no selection supports; the message names it.
    """
    unsupported = sorted(set(request.GET) - {SEARCH_VAR, *NARROWS, *DISPLAY_VARS})
    if unsupported:
        words = gettext("a selection cannot contain %(names)s: use another filter")
        raise ValueError(words % {"names": ", ".join(unsupported)})
    return known_selection_of(request)


def known_selection_of(request: HttpRequest) -> dict[str, str]:
    """Return the URL's filters that a selection supports; ignore the others."""
    filters = {**request.GET.dict(), "search": request.GET.get(SEARCH_VAR, "").strip()}
    return {name: value for name, value in filters.items() if value and name in NARROWS}


class SelectionFilter(admin.SimpleListFilter):
    """A condition of the selection."""

    offered: Iterable[tuple[str, Any]] = ()
    """Values and labels, for a filter that always offers the same ones."""

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        names = sorted({*self.names(), *self.chosen()})
        return self.offered or [(name, self.label(name)) for name in names]

    def names(self) -> Iterable[str]:
        """Return the choices, for a filter whose choices are names."""
        return ()

    def label(self, name: str) -> str:
        """Return the text of a choice."""
        return name

    def chosen(self) -> list[str]:
        """Return the chosen value in a list; [] if there is none."""
        return [value] if (value := self.used_parameters.get(str(self.parameter_name))) else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset


class StatusFilter(SelectionFilter):
    title = _("status")
    parameter_name = "status"
    offered = Status.choices


class NameFilter(SelectionFilter):
    """Offer the site's tasks known to this process, and recently failed ones."""

    title = _("name")
    parameter_name = "name"

    def names(self) -> Iterable[str]:
        known = dict.fromkeys([*_of_latest_groups("name"), *discovery.own_names()])
        return islice(known, CHOICES_SHOWN)

    def label(self, name: str) -> str:
        return short_path(name)


class ErrorFilter(SelectionFilter):
    """Offer the exceptions of the latest failure groups."""

    title = _("error of its final failure")
    parameter_name = "error"

    def names(self) -> Iterable[str]:
        return _of_latest_groups("exception_class_path")

    def label(self, name: str) -> str:
        return name.removeprefix("builtins.")


class QueueFilter(SelectionFilter):
    """Offer the queues that hold Tasks."""

    title = _("queue")
    parameter_name = "queue_name"

    def names(self) -> Iterable[str]:
        return lanes.queue_names(CHOICES_SHOWN)


class RetriedFilter(SelectionFilter):
    title = _("retried")
    parameter_name = "retried"
    offered = (("yes", _("Yes")), ("no", _("No")))


class StuckFilter(SelectionFilter):
    title = _("stuck")
    parameter_name = "stuck"
    offered = (("yes", _("Due for more than 5 minutes")),)


class WithinFilter(SelectionFilter):
    title = _("enqueued")
    parameter_name = "within"
    offered = (("hour", _("Past hour")), ("day", _("Past 24 hours")), ("week", _("Past 7 days")))


class SinceFilter(SelectionFilter):
    """Shown only when a link sets it."""

    title = _("enqueued since")
    parameter_name = "since"


class FailureGroupFilter(SelectionFilter):
    """Shown only when a link sets it."""

    title = _("failure group")
    parameter_name = "failure_group"

    def label(self, name: str) -> str:
        with suppress(ValueError):
            groups = FailureGroup.objects.filter(pk=uuid.UUID(name))
            return str(groups.first() or name)
        return name


class InternalFilter(SelectionFilter):
    """Hide internal Tasks by default."""

    title = _("internal")
    parameter_name = "internal"
    offered = (("no", _("No")), ("yes", _("Yes")), ("all", _("All")))

    def value(self) -> str:
        """Return the choice in force; "no" by default."""
        value = super().value()
        return value if value in ("yes", "all") else "no"

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, title in self.lookup_choices:
            yield {
                "selected": value == self.value(),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }


FILTERS = (
    StatusFilter,
    WithinFilter,
    RetriedFilter,
    StuckFilter,
    QueueFilter,
    NameFilter,
    ErrorFilter,
    SinceFilter,
    FailureGroupFilter,
    InternalFilter,
)


def _of_latest_groups(field: str) -> list[str]:
    groups = FailureGroup.objects.exclude(exception_class_path="")
    values = groups.order_by("-last_seen_at").values_list(field, flat=True)
    return list(values[:CHOICES_SHOWN])
