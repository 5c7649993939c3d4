"""What our admin classes share: their base class, and the parts of every row's page."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, NamedTuple

from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext, override
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import DATABASE_NOW, DatabaseNow
from django_retrytasks.values.texts import translated

from . import lookups, words

ACTIONS_SHOWN = 20
NOTHING = "-"
# Fields with a text that is stored in English.
STORED_IN_ENGLISH = ("stop_note", "stopped_because")


class Button(NamedTuple):
    """A link to a page that asks for confirmation; if it ``posts``, an action without one."""

    title: Any
    url: str
    posts: bool = False


class Fact(NamedTuple):
    """A labelled value; ``help`` explains it."""

    label: str
    value: Any
    help: Any = ""


class Action(NamedTuple):
    """An operator's action, in the words of the admin's log, with its reason."""

    at: str
    by: str
    what: str


class RowsAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # generic only for mypy
    """Show rows, each with the database's time. No form adds, changes or deletes rows."""

    # The full count, a count per filter, and a sort without an index would read the whole table.
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by: ClassVar[tuple[str, ...]] = ()

    class Media:
        css = {"all": ("retrytasks/admin.css",)}  # noqa: RUF012

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def lookup_allowed(self, lookup: str, value: Any, request: HttpRequest) -> bool:
        """Whether the list's URL may contain a lookup; Django answers others with 400."""
        return lookups.allows(self, lookup, value, request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request)
        timed: QuerySet[Any] = rows.annotate(**{DATABASE_NOW: DatabaseNow()})
        return timed

    def get_object(self, request: HttpRequest, object_id: str, from_field: Any = None) -> Any:
        """Return the row of an id; None: there is none."""
        if "\0" in object_id:  # PostgreSQL compares no such text
            return None
        return super().get_object(request, object_id, from_field)

    def refuse_hidden(self, request: HttpRequest, rows: Iterable[Model] = ()) -> None:
        """Raise PermissionDenied unless the user may view this model and each of these rows."""
        if not all(self.has_view_permission(request, row) for row in (None, *rows)):
            raise PermissionDenied

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context |= self.get_page(request, context["original"])
        return super().render_change_form(request, context, *args, **kwargs)

    def get_page(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Return what the template of a row's page shows, by name; the row of a new one is None."""
        return {}

    def page_pattern(self, route: str, view: Callable[..., Any], page: str) -> URLPattern:
        """Return the URL pattern of a page that `page_url` finds; its view is for staff only."""
        name = f"{self.opts.app_label}_{self.opts.model_name}_{page}"
        pattern: URLPattern = path(route, self.admin_site.admin_view(view), name=name)
        return pattern

    @admin.display(description=_("status"))
    def state(self, row: Any) -> SafeString:
        """Return the status of a row as a coloured label, for rows that have one."""
        return words.pill(row.status, row.get_status_display())

    def check(self, **kwargs: Any) -> list[CheckMessage]:
        return [*super().check(**kwargs), *self._refuse_editable()]

    def _refuse_editable(self) -> Iterable[CheckMessage]:
        if self.list_editable:
            yield Error(
                f"{type(self).__name__}.list_editable is set, but no form changes these rows.",
                hint="Remove list_editable: actions change these rows.",
                obj=type(self),
                id="retrytasks.E015",
            )


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


def history_of(row: Model) -> list[Action]:
    """Return the logged actions on a row, the latest first, in one query."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(row), object_id=str(row.pk)
    )
    latest = entries.select_related("user").order_by("-action_time", "-pk")[:ACTIONS_SHOWN]
    return [
        Action(
            at=words.time_tag(entry.action_time),
            by=str(entry.user),
            what=_translated(entry.get_change_message()) or entry.get_action_flag_display(),
        )
        for entry in latest
    ]


def _translated(message: str) -> str:
    """Translate the verb, stored in English, of a message of the log."""
    verb = re.split("[:(]", message, maxsplit=1)[0].rstrip()
    return gettext(verb) + message.removeprefix(verb) if verb else message


def fields_of(row: Model, names: Sequence[str]) -> list[Fact]:
    """Return fields of a row, each with its help text."""
    return [_field(row, name) for name in names]


def _field(row: Model, name: str) -> Fact:
    field: Any = row._meta.get_field(name)
    display = getattr(row, f"get_{name}_display", None)
    value = display() if display else getattr(row, name)
    if name in STORED_IN_ENGLISH:
        value = translated(value)
    return Fact(capfirst(field.verbose_name), _shown(value), field.help_text)


def _shown(value: Any) -> Any:
    if value in (None, "", {}):
        return NOTHING
    match value:
        case bool():
            return gettext("Yes") if value else gettext("No")
        case datetime():
            return words.time_tag(value)
        case dict():
            return ", ".join(f"{key}={item}" for key, item in sorted(value.items()))
    return value
