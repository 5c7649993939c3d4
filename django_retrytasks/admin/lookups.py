"""Restrict the lookups in a list's URL to the parameters of its own filters.

Any other lookup, such as ``kwargs__regex``, would reveal what the pages hide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.admin.filters import FieldListFilter, ListFilter, SimpleListFilter
from django.contrib.admin.utils import get_fields_from_path
from django.contrib.admin.widgets import url_params_from_lookup_dict
from django.db.models import Field, Model
from django.http import HttpRequest

DATE_PARTS = ("year", "month", "day")


def allows(pages: Any, lookup: str, value: Any, request: HttpRequest) -> bool:
    """Whether a list accepts a lookup: from its own filters or for a popup, and without NUL.

    Args:
        pages: the ModelAdmin.
        lookup: a parameter of the URL.
        value: its value. PostgreSQL refuses a text with NUL.
    """
    if "\0" in str(value):
        return False
    return lookup in parameters_of(pages, request) or _limits(pages.model, lookup, value)


def parameters_of(pages: Any, request: HttpRequest) -> Iterator[str | None]:
    """Yield the parameters of a list's filters and date hierarchy."""
    for listed in pages.get_list_filter(request):
        if getattr(listed, "expected_parameters", None) is SimpleListFilter.expected_parameters:
            yield listed.parameter_name  # creating the filter would read its choices
        else:
            yield from _filter_from(pages, listed, request).expected_parameters()
    if pages.date_hierarchy:
        yield from (f"{pages.date_hierarchy}__{part}" for part in DATE_PARTS)


def _filter_from(pages: Any, listed: Any, request: HttpRequest) -> ListFilter:
    """Create the filter of an item of ``list_filter``, as Django's list does."""
    created: ListFilter
    if callable(listed):
        created = listed(request, {}, pages.model, pages)
        return created
    make: Any = FieldListFilter.create
    field, make = listed if isinstance(listed, tuple | list) else (listed, make)
    path = None
    if not isinstance(field, Field):
        path, field = field, get_fields_from_path(pages.model, field)[-1]
    created = make(field, request, {}, pages.model, pages, field_path=path)
    return created


def _limits(model: type[Model], lookup: str, value: Any) -> bool:
    """Whether ``limit_choices_to`` of a ForeignKey to these rows has the lookup."""
    limits = (each() if callable(each) else each for each in model._meta.related_fkey_lookups)
    return any((lookup, value) in url_params_from_lookup_dict(each).items() for each in limits)
