"""The base class of all our admin classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.checks import CheckMessage, Error
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from django_retrytasks.database import DATABASE_NOW, DatabaseNow

from . import lookups

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin


class RowsAdmin(AnyModelAdmin):
    """Show rows, each with the database's time. No form adds, changes or deletes rows."""

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

    def refuse_hidden(self, request: HttpRequest, rows: Iterable[Model] = ()) -> None:
        """Raise PermissionDenied unless the user may view this model and each of these rows."""
        if not all(self.has_view_permission(request, row) for row in (None, *rows)):
            raise PermissionDenied

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
