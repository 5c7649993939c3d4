"""The admin of failure groups: their list and pages, and the actions mute, resolve, reopen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.forms import Script
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from django_retrytasks import conf
from django_retrytasks.database import DATABASE_NOW, writing
from django_retrytasks.errors import tracebacks
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import GroupStatus
from django_retrytasks.models import Attempt, FailureGroup, OpenBreaker, Task
from django_retrytasks.operators.verbs import VERBS
from django_retrytasks.values.texts import translated

from . import base, recent, words
from .base import Button, RowsAdmin, page_url
from .confirm import reason_of
from .task_actions import TaskActions

# The attribute of a group in the list that holds its recent counts.
RECENT = "recent"
# Open breakers of a group's function.
SHOWN = 20
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


class GroupChange(NamedTuple):
    """A change of failure groups by an operator, and the resulting status."""

    label: Any
    act: Callable[[Iterable[uuid.UUID]], int]
    becomes: GroupStatus


def _mute_for(**duration: int) -> Callable[[Iterable[uuid.UUID]], int]:
    return lambda pks: groups.mute(pks, timezone.now() + timedelta(**duration))


# By their names in methods and URLs.
GROUP_CHANGES = {
    "mute_for_an_hour": GroupChange(_("Mute for an hour"), _mute_for(hours=1), GroupStatus.MUTED),
    "mute_for_a_day": GroupChange(_("Mute for a day"), _mute_for(days=1), GroupStatus.MUTED),
    "mute": GroupChange(_("Mute until reopened"), groups.mute, GroupStatus.MUTED),
    "resolve": GroupChange(_("Resolve"), groups.resolve, GroupStatus.RESOLVED),
    "reopen": GroupChange(_("Reopen"), groups.reopen, GroupStatus.OPEN),
}


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
class FailureGroupAdmin(RowsAdmin):
    """Browse failure groups; mute, resolve and reopen them, from the list and from a group's page.

    The changes need the permission to change groups; each of `GROUP_CHANGES` has an action of its
    name. A group's page also links to the re-drive of all its Tasks.
    """

    actions = tuple(GROUP_CHANGES)
    list_display = ("state", "what", "of_late", "failure_count", "last_failed")
    list_display_links = ("what",)
    list_filter = ("status", FailingFilter, "kind")
    list_per_page = 25
    ordering = ("-last_seen_at",)
    search_fields = ("name", "exception_class_path", "message")
    search_help_text = _("Part of a function's path, an exception's name or its message.")
    sortable_by = ("failure_count", "last_failed")

    class Media:
        js = (Script("retrytasks/admin.js", defer=True),)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may mute, resolve and reopen groups."""
        return request.user.has_perm("retrytasks.change_failuregroup")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return FailureGroupChangeList

    def get_page(self, request: HttpRequest, group: FailureGroup) -> dict[str, Any]:
        attempts = Attempt.objects.filter(task=group.sample_id)
        sample = attempts.exclude(traceback="").last()
        counted = recent.by_group([group], getattr(group, DATABASE_NOW)).get(group.pk, recent.NONE)
        return {
            "pill": self.state(group),
            "headline": words.group_headline(group),
            "buttons": [*self._redrives(request, group), *self._changes(request, group)],
            "breakers": OpenBreaker.objects.filter(name=group.name).order_by("opened_at")[:SHOWN],
            "alerts": [words.last_alert(group), words.next_alert(group, conf.get().cooldown)],
            "recent": counted,
            "chart": recent.chart(counted),
            "sample": sample,
            "decision": translated(sample.decision) if sample else "",
            "own_traceback": tracebacks.own_part(sample.traceback) if sample else "",
            "history": base.history_of(group),
            "sections": [
                (_("Counts"), base.fields_of(group, COUNTS)),
                (_("Times"), base.fields_of(group, TIMES)),
                (_("Cause"), base.fields_of(group, IDENTITY)),
            ],
        }

    def _redrives(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        pages = base.admin_of(self.admin_site, Task)
        if group.kind == FailureGroup.Kind.RULE or not isinstance(pages, TaskActions):
            return []
        redrive = VERBS["REDRIVE"]
        if not (pages.has_view_permission(request) and pages.may(request, redrive)):
            return []
        query = urlencode({"failure_group": group.pk})
        return [Button(_("Re-drive all"), f"{page_url(pages, 'all', redrive.slug)}?{query}")]

    def _changes(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        if not self.has_manage_permission(request):
            return []
        return [
            Button(change.label, page_url(self, "say", group.pk, word), posts=True)
            for word, change in GROUP_CHANGES.items()
            if group.status != change.becomes
        ]

    def get_urls(self) -> list[Any]:
        say = require_POST(self._say_view)
        own = self.page_pattern("<uuid:pk>/say/<slug:word>/", say, "say")
        return [own, *super().get_urls()]

    def _say_view(self, request: HttpRequest, pk: uuid.UUID, word: str) -> HttpResponse:
        if word not in GROUP_CHANGES:
            raise Http404
        if not self.has_manage_permission(request):
            raise PermissionDenied
        self._apply(request, GROUP_CHANGES[word], self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page_url(self, "change", pk))

    def _apply(
        self, request: HttpRequest, change: GroupChange, queryset: QuerySet[FailureGroup]
    ) -> None:
        groups, reason = list(queryset), reason_of(request)
        self.refuse_hidden(request, groups)
        with writing():
            count = change.act([group.pk for group in groups])
            base.log(request, groups, change.label, reason)
        text = ngettext("%(count)d group changed.", "%(count)d groups changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)

    @admin.display(description=_("status"))
    def state(self, group: FailureGroup) -> SafeString:
        if group.status == FailureGroup.Status.OPEN and not group.streak_count:
            return words.pill("quiet", _("Quiet"))
        if group.status == FailureGroup.Status.OPEN and group.is_regressed:
            return words.pill("regressed", _("Regressed"))
        return super().state(group)

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
            return base.NOTHING
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


def _what(group: FailureGroup) -> str:
    if group.kind == FailureGroup.Kind.RULE:
        return group.message
    return f"{group.error_name} · {words.short_path(group.name)}"


def _action(change: GroupChange) -> Callable[..., None]:
    @admin.action(description=change.label, permissions=["manage"])
    def action(
        self: FailureGroupAdmin, request: HttpRequest, queryset: QuerySet[FailureGroup]
    ) -> None:
        self._apply(request, change, queryset)

    return action


for _word, _change in GROUP_CHANGES.items():
    setattr(FailureGroupAdmin, _word, _action(_change))
