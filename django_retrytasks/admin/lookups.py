"""The parameters that the URL of a list may have: those of its own filters, and no other lookup.

By any other lookup, such as ``kwargs__regex``, a list would answer what its pages hide.
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
    """Whether a list may be narrowed so: by a filter of its own, for a popup, and by no NUL.

    Args:
        pages: the ModelAdmin.
        lookup: a parameter of the URL.
        value: its value. PostgreSQL refuses a text with NUL.
    """
    if "\0" in str(value):
        return False
    return lookup in parameters_of(pages, request) or _limits(pages.model, lookup, value)


def parameters_of(pages: Any, request: HttpRequest) -> Iterator[str | None]:
    """Yield the parameters that the filters and the date hierarchy of a list take."""
    for listed in pages.get_list_filter(request):
        if getattr(listed, "expected_parameters", None) is SimpleListFilter.expected_parameters:
            yield listed.parameter_name  # to make one reads its choices
        else:
            yield from _made(pages, listed, request).expected_parameters()
    if pages.date_hierarchy:
        yield from (f"{pages.date_hierarchy}__{part}" for part in DATE_PARTS)


def _made(pages: Any, listed: Any, request: HttpRequest) -> ListFilter:
    """Return a filter as Django's list makes it of an item of ``list_filter``."""
    made: ListFilter
    if callable(listed):
        made = listed(request, {}, pages.model, pages)
        return made
    make: Any = FieldListFilter.create
    field, make = listed if isinstance(listed, tuple | list) else (listed, make)
    path = None
    if not isinstance(field, Field):
        path, field = field, get_fields_from_path(pages.model, field)[-1]
    made = make(field, request, {}, pages.model, pages, field_path=path)
    return made


def _limits(model: type[Model], lookup: str, value: Any) -> bool:
    """Whether a site's ForeignKey to these rows asks for it, by its ``limit_choices_to``."""
    limits = (one() if callable(one) else one for one in model._meta.related_fkey_lookups)
    return any((lookup, value) in url_params_from_lookup_dict(one).items() for one in limits)
