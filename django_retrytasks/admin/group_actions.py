"""What operators do to failure groups: mute, resolve, reopen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from django_retrytasks.database import writing
from django_retrytasks.lifecycle import groups
from django_retrytasks.models import FailureGroup, Task

from .base import Button, admin_of, log, task_url
from .confirm import reason_of
from .rows import RowsAdmin
from .task_actions import TaskActions

GROUP = FailureGroup.Status
MUTES = ("mute_for_an_hour", "mute_for_a_day", "mute")
# What an operator says of a failure group, and where it stands when that makes a difference.
SAYINGS: dict[str, Callable[[Iterable[uuid.UUID]], int]] = {
    "mute_for_an_hour": lambda pks: groups.mute(pks, timezone.now() + timedelta(hours=1)),
    "mute_for_a_day": lambda pks: groups.mute(pks, timezone.now() + timedelta(days=1)),
    "mute": groups.mute,
    "resolve": groups.resolve,
    "reopen": groups.reopen,
}
SAID_OF = {
    GROUP.OPEN: (*MUTES, "resolve"),
    GROUP.MUTED: ("resolve", "reopen"),
    GROUP.RESOLVED: (*MUTES, "reopen"),
}


class GroupActions(RowsAdmin):
    """Mute, resolve and reopen failure groups, from the list and from a group's page.

    Who may change groups may do so. A group's page also leads to the re-drive of all its Tasks.
    """

    actions = tuple(SAYINGS)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may say of a group that it is muted, resolved or open."""
        return request.user.has_perm("retrytasks.change_failuregroup")

    @admin.action(description=_("Mute for an hour"), permissions=["manage"])
    def mute_for_an_hour(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, "mute_for_an_hour", queryset)

    @admin.action(description=_("Mute for a day"), permissions=["manage"])
    def mute_for_a_day(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, "mute_for_a_day", queryset)

    @admin.action(description=_("Mute until reopened"), permissions=["manage"])
    def mute(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, "mute", queryset)

    @admin.action(description=_("Resolve"), permissions=["manage"])
    def resolve(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, "resolve", queryset)

    @admin.action(description=_("Reopen"), permissions=["manage"])
    def reopen(self, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, "reopen", queryset)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        group = context["original"]
        context["buttons"] = [*self._redrives(request, group), *self._said_of(request, group)]
        return super().render_change_form(request, context, *args, **kwargs)

    def _redrives(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        pages = admin_of(self.admin_site, Task)
        if group.kind == FailureGroup.Kind.RULE or not isinstance(pages, TaskActions):
            return []
        if not (pages.has_view_permission(request) and pages.has_redrive_permission(request)):
            return []
        query = urlencode({"failure_group": group.pk})
        url = f"{task_url(self.admin_site, 'all', 'redrive')}?{query}"
        return [Button(title=_("Re-drive all"), url=url)]

    def _said_of(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        if not self.has_manage_permission(request):
            return []
        name, site = "admin:retrytasks_failuregroup_say", self.admin_site.name
        return [
            Button(
                title=_description(self, word),
                url=reverse(name, args=(group.pk, word), current_app=site),
                posts=True,
            )
            for word in SAID_OF[GROUP(group.status)]
        ]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(require_POST(self._say_view))
        own = path("<uuid:pk>/say/<slug:word>/", view, name="retrytasks_failuregroup_say")
        return [own, *super().get_urls()]

    def _say_view(self, request: HttpRequest, pk: uuid.UUID, word: str) -> HttpResponse:
        if word not in SAYINGS:
            raise Http404
        if not self.has_manage_permission(request):
            raise PermissionDenied
        self._say(request, word, self.get_queryset(request).filter(pk=pk))
        name, site = "admin:retrytasks_failuregroup_change", self.admin_site.name
        return HttpResponseRedirect(reverse(name, args=(pk,), current_app=site))

    def _say(self, request: HttpRequest, word: str, queryset: QuerySet[FailureGroup]) -> None:
        groups, reason = list(queryset), reason_of(request)
        self.refuse_hidden(request, groups)
        with writing():
            count = SAYINGS[word]([group.pk for group in groups])
            log(request, groups, _description(self, word), reason)
        text = ngettext("%(count)d group changed.", "%(count)d groups changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


def _description(of: Any, word: str) -> Any:
    return getattr(of, word).short_description
