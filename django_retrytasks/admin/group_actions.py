"""The actions on failure groups: mute, resolve, reopen."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from django_retrytasks.database import writing
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import GroupStatus
from django_retrytasks.models import FailureGroup, Task
from django_retrytasks.operators.verbs import VERBS

from .base import Button, admin_of, log, page_url
from .confirm import reason_of
from .rows import RowsAdmin
from .task_actions import TaskActions


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """A change of failure groups by an operator, and the resulting status."""

    label: Any
    act: Callable[[Iterable[uuid.UUID]], int]
    becomes: GroupStatus


def _mute_for(**duration: int) -> Callable[[Iterable[uuid.UUID]], int]:
    return lambda pks: groups.mute(pks, timezone.now() + timedelta(**duration))


# By their names in methods and URLs.
GROUP_CHANGES = {
    "mute_for_an_hour": GroupChange(
        label=_("Mute for an hour"), act=_mute_for(hours=1), becomes=GroupStatus.MUTED
    ),
    "mute_for_a_day": GroupChange(
        label=_("Mute for a day"), act=_mute_for(days=1), becomes=GroupStatus.MUTED
    ),
    "mute": GroupChange(label=_("Mute until reopened"), act=groups.mute, becomes=GroupStatus.MUTED),
    "resolve": GroupChange(label=_("Resolve"), act=groups.resolve, becomes=GroupStatus.RESOLVED),
    "reopen": GroupChange(label=_("Reopen"), act=groups.reopen, becomes=GroupStatus.OPEN),
}


class GroupActions(RowsAdmin):
    """Mute, resolve and reopen failure groups, from the list and from a group's page.

    The user needs the permission to change groups. A group's page also links to the re-drive of
    all its Tasks. Each of `GROUP_CHANGES` has an action of its name.
    """

    actions = tuple(GROUP_CHANGES)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may mute, resolve and reopen groups."""
        return request.user.has_perm("retrytasks.change_failuregroup")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        group = context["original"]
        context["buttons"] = [*self._redrives(request, group), *self._changes(request, group)]
        return super().render_change_form(request, context, *args, **kwargs)

    def _redrives(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        pages = admin_of(self.admin_site, Task)
        if group.kind == FailureGroup.Kind.RULE or not isinstance(pages, TaskActions):
            return []
        redrive = VERBS["REDRIVE"]
        if not (pages.has_view_permission(request) and pages.may(request, redrive)):
            return []
        query = urlencode({"failure_group": group.pk})
        url = f"{page_url(pages, 'all', redrive.slug)}?{query}"
        return [Button(title=_("Re-drive all"), url=url)]

    def _changes(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        if not self.has_manage_permission(request):
            return []
        return [
            Button(title=change.label, url=page_url(self, "say", group.pk, word), posts=True)
            for word, change in GROUP_CHANGES.items()
            if group.status != change.becomes
        ]

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view(require_POST(self._say_view))
        own = path("<uuid:pk>/say/<slug:word>/", view, name="retrytasks_failuregroup_say")
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
            log(request, groups, change.label, reason)
        text = ngettext("%(count)d group changed.", "%(count)d groups changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


def _action(change: GroupChange) -> Callable[..., None]:
    @admin.action(description=change.label, permissions=["manage"])
    def action(self: GroupActions, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._apply(request, change, queryset)

    return action


for _word, _change in GROUP_CHANGES.items():
    setattr(GroupActions, _word, _action(_change))
