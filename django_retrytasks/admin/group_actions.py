"""What operators do to failure groups: mute, resolve, reopen."""

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
class Saying:
    """What an operator may say of failure groups, and the status that it gives them."""

    label: Any
    act: Callable[[Iterable[uuid.UUID]], int]
    becomes: GroupStatus


def _mute_for(**duration: int) -> Callable[[Iterable[uuid.UUID]], int]:
    return lambda pks: groups.mute(pks, timezone.now() + timedelta(**duration))


# By the names that methods and URLs have for them.
SAYINGS = {
    "mute_for_an_hour": Saying(
        label=_("Mute for an hour"), act=_mute_for(hours=1), becomes=GroupStatus.MUTED
    ),
    "mute_for_a_day": Saying(
        label=_("Mute for a day"), act=_mute_for(days=1), becomes=GroupStatus.MUTED
    ),
    "mute": Saying(label=_("Mute until reopened"), act=groups.mute, becomes=GroupStatus.MUTED),
    "resolve": Saying(label=_("Resolve"), act=groups.resolve, becomes=GroupStatus.RESOLVED),
    "reopen": Saying(label=_("Reopen"), act=groups.reopen, becomes=GroupStatus.OPEN),
}


class GroupActions(RowsAdmin):
    """Mute, resolve and reopen failure groups, from the list and from a group's page.

    Who may change groups may do so. A group's page also leads to the re-drive of all its Tasks.
    Each of `SAYINGS` has an action of its name.
    """

    actions = tuple(SAYINGS)

    def has_manage_permission(self, request: HttpRequest) -> bool:
        """Whether the user may say of a group that it is muted, resolved or open."""
        return request.user.has_perm("retrytasks.change_failuregroup")

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
        redrive = VERBS["REDRIVE"]
        if not (pages.has_view_permission(request) and pages.may(request, redrive)):
            return []
        query = urlencode({"failure_group": group.pk})
        url = f"{page_url(pages, 'all', redrive.slug)}?{query}"
        return [Button(title=_("Re-drive all"), url=url)]

    def _said_of(self, request: HttpRequest, group: FailureGroup) -> list[Button]:
        if not self.has_manage_permission(request):
            return []
        return [
            Button(title=saying.label, url=page_url(self, "say", group.pk, word), posts=True)
            for word, saying in SAYINGS.items()
            if group.status != saying.becomes
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
        self._say(request, SAYINGS[word], self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page_url(self, "change", pk))

    def _say(self, request: HttpRequest, saying: Saying, queryset: QuerySet[FailureGroup]) -> None:
        groups, reason = list(queryset), reason_of(request)
        self.refuse_hidden(request, groups)
        with writing():
            count = saying.act([group.pk for group in groups])
            log(request, groups, saying.label, reason)
        text = ngettext("%(count)d group changed.", "%(count)d groups changed.", count)
        self.message_user(request, text % {"count": count}, messages.SUCCESS)


def _action(saying: Saying) -> Callable[..., None]:
    @admin.action(description=saying.label, permissions=["manage"])
    def action(self: GroupActions, request: HttpRequest, queryset: QuerySet[FailureGroup]) -> None:
        self._say(request, saying, queryset)

    return action


for _word, _saying in SAYINGS.items():
    setattr(GroupActions, _word, _action(_saying))
