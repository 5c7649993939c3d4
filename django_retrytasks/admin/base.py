"""Shared by the actions: buttons, the log, URLs, and the chosen ids of a request."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import BadRequest
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import override

# Django's parameter for the list's query, by which a page leads back to the list.
FILTERS = "_changelist_filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A link to a page that asks for confirmation; if it ``posts``, an action without one."""

    title: Any
    url: str
    posts: bool = False


def log(
    request: HttpRequest, rows: Sequence[Model], what: Any, reason: str, flag: int = CHANGE
) -> None:
    """Write the user's action to the admin's log, one entry per row, in English.

    Args:
        rows: the changed rows, of one model.
        what: the action in a word.
        reason: the user's reason; "" without one.
        flag: a flag of :class:`django.contrib.admin.models.LogEntry`.
    """
    with override(None):
        message = f"{what}: {reason}" if reason else str(what)
    if rows:
        entries: Any = LogEntry.objects
        entries.log_actions(request.user.pk, rows, flag, message)


def admin_of(site: admin.AdminSite, model: type[Model]) -> Any:
    """Return a model's ModelAdmin on a site; None if it is not registered."""
    return site.get_model_admin(model) if site.is_registered(model) else None


def page_url(pages: admin.ModelAdmin[Any], page: str, *args: Any) -> str:
    """Return the URL of a page of a model's rows, on their admin site."""
    name = f"admin:{pages.opts.app_label}_{pages.opts.model_name}_{page}"
    return reverse(name, args=args, current_app=pages.admin_site.name)


def list_filters_of(request: HttpRequest) -> str:
    """Return the query of the list that the user came from."""
    return request.GET.get(FILTERS, request.GET.urlencode())


def chosen_ids(request: HttpRequest) -> list[uuid.UUID]:
    """Return the ids of the ticked Tasks."""
    try:
        return list(dict.fromkeys(map(uuid.UUID, request.POST.getlist(ACTION_CHECKBOX_NAME))))
    except ValueError:
        raise BadRequest("an id of a Task is expected") from None


def form_data(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None
