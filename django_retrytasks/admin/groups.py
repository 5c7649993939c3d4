"""Failure groups in the admin: what fails by one cause, and what somebody says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from django_retrytasks import failures, wakeups
from django_retrytasks.models import Attempt, DatabaseNow, FailureGroup

from . import page, words

if TYPE_CHECKING:
    FailureGroupModelAdmin = admin.ModelAdmin[FailureGroup]
else:
    FailureGroupModelAdmin = admin.ModelAdmin

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
    """Show the groups that fail still, unless asked for others."""

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


@admin.register(FailureGroup)
class FailureGroupAdmin(FailureGroupModelAdmin):
    """Browse failure groups; who may change them can mute, resolve and reopen them."""

    list_display = ("state", "what", "origin_shown", "failure_count", "last_failed", "first_seen")
    list_display_links = ("what",)
    list_filter = ("status", FailingFilter, "kind")
    ordering = ("-last_seen_at",)
    search_fields = ("name", "exception_class_path", "message")
    search_help_text = _("Part of a function's path, an exception's name or its message.")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by = ("failure_count", "last_failed", "first_seen")
    actions = ("mute_for_a_day", "mute", "resolve", "reopen")

    class Media:
        css = {"all": ("retrytasks/admin.css",)}  # noqa: RUF012

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may say of a group that it is muted, resolved or open."""
        return request.user.has_perm("retrytasks.change_failuregroup")

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailureGroup]:
        rows = super().get_queryset(request).using(wakeups.alias())
        return rows.annotate(**{words.NOW: DatabaseNow()})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        group = context["original"]
        attempts = Attempt.objects.using(wakeups.alias()).filter(task=group.sample_id)
        context |= {
            "pill": _pill(group),
            "sample": attempts.exclude(traceback="").last(),
            "tasks_url": self._url("changelist") + f"?failure_group__exact={group.pk}",
            "sample_url": self._url("change", group.sample_id),
            "sections": [
                (_("Counts"), page.fields_of(group, COUNTS)),
                (_("Times"), page.fields_of(group, TIMES)),
                (_("Cause"), page.fields_of(group, IDENTITY)),
            ],
        }
        return super().render_change_form(request, context, *args, **kwargs)

    def _url(self, page: str, *args: Any) -> str:
        site = self.admin_site.name
        return reverse(f"admin:retrytasks_task_{page}", args=args, current_app=site)

    @admin.action(description=_("Mute for a day"), permissions=["manage"])
    def mute_for_a_day(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        until = timezone.now() + timedelta(days=1)
        self._say(request, queryset, lambda pks: failures.mute(pks, until))

    @admin.action(description=_("Mute until reopened"), permissions=["manage"])
    def mute(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, queryset, failures.mute)

    @admin.action(description=_("Resolve"), permissions=["manage"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, queryset, failures.resolve)

    @admin.action(description=_("Reopen"), permissions=["manage"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, queryset, failures.reopen)

    def _say(
        self, request: HttpRequest, queryset: QuerySet[FailureGroup], verb: Callable[[Any], int]
    ) -> None:
        count = verb(queryset.values_list("pk", flat=True))
        text = ngettext("%(count)d group changed.", "%(count)d groups changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.display(description=_("status"))
    def state(self, group: FailureGroup) -> SafeString:
        return _pill(group)

    @admin.display(description=_("cause"))
    def what(self, group: FailureGroup) -> SafeString:
        return format_html('<span title="{}">{}</span>', group.message, _what(group))

    @admin.display(description=_("origin"))
    def origin_shown(self, group: FailureGroup) -> SafeString:
        return format_html("<code>{}</code>", group.origin) if group.origin else SafeString("")

    @admin.display(description=_("last failed"), ordering="last_failed_at")
    def last_failed(self, group: FailureGroup) -> SafeString:
        return words.ago(group, group.last_failed_at)

    @admin.display(description=_("first seen"), ordering="first_seen_at")
    def first_seen(self, group: FailureGroup) -> SafeString:
        return words.ago(group, group.first_seen_at)


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
