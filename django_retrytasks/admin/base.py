"""What actions share: buttons, the log, addresses, and what a request chose."""

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

# What Django's admin calls the list's query, where another page is to lead back to it.
FILTERS = "_changelist_filters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A link to a page that asks first; or, if it ``posts``, what is done at once."""

    title: Any
    url: str
    posts: bool = False


def log(
    request: HttpRequest, rows: Sequence[Model], what: Any, reason: str, flag: int = CHANGE
) -> None:
    """Write what the user does to the admin's log, an entry for each row; in plain English.

    Args:
        rows: what it is done to, of one model.
        what: in a word.
        reason: as the user gave it; "" where there is none.
        flag: as :class:`django.contrib.admin.models.LogEntry` has it.
    """
    with override(None):
        message = f"{what}: {reason}" if reason else str(what)
    if rows:
        entries: Any = LogEntry.objects
        entries.log_actions(request.user.pk, rows, flag, message)


def admin_of(site: admin.AdminSite, model: type[Model]) -> Any:
    """Return what has the pages of a model on a site, None where nothing has."""
    return site.get_model_admin(model) if site.is_registered(model) else None


def page_url(pages: admin.ModelAdmin[Any], page: str, *args: Any) -> str:
    """Return the address of one of the pages of a model's rows, on their site."""
    name = f"admin:{pages.opts.app_label}_{pages.opts.model_name}_{page}"
    return reverse(name, args=args, current_app=pages.admin_site.name)


def list_filters_of(request: HttpRequest) -> str:
    """Return the query of the list from which the user came."""
    return request.GET.get(FILTERS, request.GET.urlencode())


def chosen_ids(request: HttpRequest) -> list[uuid.UUID]:
    """Return the ids of the Tasks that were ticked."""
    try:
        return list(dict.fromkeys(map(uuid.UUID, request.POST.getlist(ACTION_CHECKBOX_NAME))))
    except ValueError:
        raise BadRequest("an id of a Task is expected") from None


def form_data(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None
