"""The admin of failure groups."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.forms import Script
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_retrytasks import conf
from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.errors import tracebacks
from django_retrytasks.models import Attempt, FailureGroup
from django_retrytasks.values.texts import translated

from . import page, recent, words
from .group_actions import GroupActions
from .rows import RowsAdmin

# The attribute of a group in the list that holds its recent counts.
RECENT = "recent"
COUNTS = ("failure_count", "failed_attempt_count", "streak_count", "alerted_count")
TIMES = (
    "first_seen_at",
    "last_seen_at",
    "last_failed_at",
    "streak_started_at",
    "alerted_at",
    "recovered_at",
    "resolved_at",
    "regressed_at",
    "muted_until",
)
IDENTITY = ("name", "exception_class_path", "origin", "message", "kind", "fingerprint")


class FailingFilter(admin.SimpleListFilter):
    """Filter groups by whether they are failing."""

    title = _("failing")
    parameter_name = "failing"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", _("Yes")), ("no", _("No"))]

    def queryset(self, request: HttpRequest, queryset: Any) -> Any:
        match self.value():
            case "yes":
                return queryset.failing()
            case "no":
                return queryset.filter(streak_count=0)
        return queryset


class FailureGroupChangeList(ChangeList):
    """The list of groups, with the recent failures of all rows counted at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        groups = list(self.result_list)
        self.result_list = groups
        counted = recent.by_group(groups, getattr(groups[0], DATABASE_NOW)) if groups else {}
        for group in groups:
            setattr(group, RECENT, counted.get(group.pk, recent.NONE))


@admin.register(FailureGroup)
class FailureGroupAdmin(GroupActions, RowsAdmin):
    """Browse failure groups; users with the permission can mute, resolve and reopen them."""

    list_display = ("state", "what", "of_late", "failure_count", "last_failed")
    list_display_links = ("what",)
    list_filter = ("status", FailingFilter, "kind")
    list_per_page = 25
    ordering = ("-last_seen_at",)
    search_fields = ("name", "exception_class_path", "message")
    search_help_text = _("Part of a function's path, an exception's name or its message.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("failure_count", "last_failed")

    class Media:
        css = {"all": ("retrytasks/admin.css",)}  # noqa: RUF012
        js = (Script("retrytasks/admin.js", defer=True),)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FailureGroupChangeList

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        group = context["original"]
        attempts = Attempt.objects.filter(task=group.sample_id)
        sample = attempts.exclude(traceback="").last()
        counted = recent.by_group([group], getattr(group, DATABASE_NOW)).get(group.pk, recent.NONE)
        context |= {
            "pill": _pill(group),
            "headline": words.group_headline(group),
            "alerts": [words.last_alert(group), words.next_alert(group, conf.get().cooldown)],
            "recent": counted,
            "chart": recent.chart(counted),
            "sample": sample,
            "decision": translated(sample.decision) if sample else "",
            "own_traceback": tracebacks.own_part(sample.traceback) if sample else "",
            "history": page.history_of(group),
            "sections": [
                (_("Counts"), page.fields_of(group, COUNTS)),
                (_("Times"), page.fields_of(group, TIMES)),
                (_("Cause"), page.fields_of(group, IDENTITY)),
            ],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=_("status"))
    def state(self, group: FailureGroup) -> SafeString:
        return _pill(group)

    @admin.display(description=_("cause"))
    def what(self, group: FailureGroup) -> SafeString:
        origin = format_html('<code class="rt-origin">{}</code>', group.origin)
        return format_html(
            '<span title="{}">{}</span>{}',
            group.message,
            _what(group),
            origin if group.origin else "",
        )

    @admin.display(description=_("in 1 h / 24 h / 7 d"))
    def of_late(self, group: FailureGroup) -> SafeString | str:
        if group.kind == FailureGroup.Kind.RULE:
            return page.NOTHING
        counted = getattr(group, RECENT)
        numbers = f"{counted.hour} / {counted.day} / {counted.week}"
        return format_html("{}{}", numbers, recent.chart(counted))

    @admin.display(description=_("last failed"), ordering="last_failed_at")
    def last_failed(self, group: FailureGroup) -> SafeString:
        return format_html(
            '{}<span class="rt-first">{} {}</span>',
            words.ago(group, group.last_failed_at),
            _("first:"),
            words.ago(group, group.first_seen_at),
        )


def _pill(group: FailureGroup) -> SafeString:
    if group.status == FailureGroup.Status.OPEN and not group.streak_count:
        return words.pill("quiet", _("Quiet"))
    if group.status == FailureGroup.Status.OPEN and group.is_regressed:
        return words.pill("regressed", _("Regressed"))
    return words.pill(group.status, group.get_status_display())


def _what(group: FailureGroup) -> str:
    if group.kind == FailureGroup.Kind.RULE:
        return group.message
    return f"{group.error_name} · {words.short_path(group.name)}"
