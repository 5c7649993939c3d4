"""What the pages of all our rows have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_retrytasks import wakeups
from django_retrytasks.models import DatabaseNow

from . import words

if TYPE_CHECKING:
    AnyModelAdmin = admin.ModelAdmin[Any]
else:
    AnyModelAdmin = admin.ModelAdmin


class RowsAdmin(AnyModelAdmin):
    """Show rows, each with the time of their database. No form adds, changes or deletes any."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).using(wakeups.alias())
        timed: QuerySet[Any] = rows.annotate(**{words.NOW: DatabaseNow()})
        return timed
