"""The filters beside the list of Tasks: none of them reads the whole table for its choices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_retrytasks import lifecycle

QUEUES_SHOWN = 50


class InternalFilter(admin.SimpleListFilter):
    """Hide the Tasks that announce other Tasks, unless asked for."""

    title = _("internal")
    parameter_name = "internal"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("No")), ("yes", _("Yes")), ("all", _("All"))]

    def value(self) -> str:
        """Return the choice in force: "no" unless another one is asked for."""
        asked = super().value()
        return asked if asked in ("yes", "all") else "no"

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, title in self.lookup_choices:
            yield {
                "selected": value == self.value(),
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        return queryset.filter(internal=self.value() == "yes")


class QueueFilter(admin.SimpleListFilter):
    """Offer the queues that hold unfinished Tasks, and the one that is asked for."""

    title = _("queue")
    parameter_name = "queue"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        asked = self.used_parameters.get(self.parameter_name)
        names = {*islice(lifecycle.queue_names(), QUEUES_SHOWN), *([asked] if asked else [])}
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(queue_name=self.value()) if self.value() else queryset
