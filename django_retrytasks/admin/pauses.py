"""The admin of pauses: pause a queue or a function, and resume it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from django_retrytasks import database
from django_retrytasks.lifecycle import pauses
from django_retrytasks.models import Pause
from django_retrytasks.operators.known_names import allowed_queues, has_tasks, queues_in_use
from django_retrytasks.tasks import discovery

from . import base, words
from .base import Button, RowsAdmin, page_url
from .confirm import reason_of

PAUSED = ("queue_name", "name", "paused_at", "paused_by", "reason")

# Suggested names, by the field of a pause.
SUGGESTED = {"queue_name": queues_in_use, "name": discovery.own_names}


class PauseForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for mypy
    """Ask for a queue or a function to pause, and a reason."""

    class Meta:
        model = Pause
        fields = ("queue_name", "name", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.instance._state.db = database.alias()  # the database in which uniqueness is checked
        for name in self.fields.keys() & SUGGESTED:
            self.fields[name].widget.attrs["list"] = f"rt-{name}"

    def clean_queue_name(self) -> str:
        """Refuse a queue without a backend and without Tasks."""
        name: str = self.cleaned_data["queue_name"]
        allowed = allowed_queues()
        if name and allowed and name not in allowed and not has_tasks(queue_name=name):
            raise ValidationError(_unknown(_("There is no such queue."), name, queues_in_use()))
        return name

    def clean_name(self) -> str:
        """Refuse an unknown function without Tasks."""
        name: str = self.cleaned_data["name"]
        known = discovery.own_names()
        if name and name not in known and not has_tasks(name=name):
            raise ValidationError(_unknown(_("There is no such function."), name, known))
        return name

    def clean(self) -> dict[str, Any] | None:
        filled = [name for name in ("queue_name", "name") if self.cleaned_data.get(name)]
        if len(filled) != 1:
            message = _("Give either a queue or a function.")
            raise ValidationError({"queue_name": message})
        return super().clean()


@admin.register(Pause)
class PauseAdmin(RowsAdmin):
    """List the pauses; users with the permission can pause and resume."""

    form = PauseForm
    list_display = ("what", "since", "paused_by", "reason")
    ordering = ("-paused_at",)
    actions = ("resume",)

    def has_pause_permission(self, request: HttpRequest) -> bool:
        """Whether the user may pause and resume queues and functions."""
        return request.user.has_perm("retrytasks.pause_task")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_pause_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_pause_permission(request)

    def save_model(self, request: HttpRequest, obj: Pause, form: Any, change: bool) -> None:
        by = request.user.get_username()
        pauses.pause(queue_name=obj.queue_name, name=obj.name, by=by, reason=obj.reason)
        obj.pk = Pause.objects.get(queue_name=obj.queue_name, name=obj.name).pk

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        reason = form.cleaned_data["reason"]
        return f"Pause: {reason}" if reason else "Pause"

    def get_page(self, request: HttpRequest, paused: Pause | None) -> dict[str, Any]:
        if paused is None:
            return {"suggestions": {name: names() for name, names in SUGGESTED.items()}}
        resume = Button(_("Resume"), page_url(self, "resume", paused.pk), posts=True)
        return {
            "buttons": [resume] if self.has_pause_permission(request) else [],
            "sections": [(_("Pause"), base.fields_of(paused, PAUSED))],
        }

    def get_urls(self) -> list[Any]:
        own = self.page_pattern("<int:pk>/resume/", require_POST(self._resume_view), "resume")
        return [own, *super().get_urls()]

    def _resume_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_pause_permission(request):
            raise PermissionDenied
        self.resume(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page_url(self, "changelist"))

    @admin.action(description=_("Resume"), permissions=["pause"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Pause]) -> None:
        self.refuse_hidden(request, queryset)
        reason = reason_of(request)
        for paused in queryset:
            if pauses.resume(queue_name=paused.queue_name, name=paused.name):
                base.log(request, [paused], _("Resume"), reason, DELETION)
                text = gettext("Resumed: %(what)s.") % {"what": paused}
                self.message_user(request, text, messages.SUCCESS)

    @admin.display(description=_("what"))
    def what(self, paused: Pause) -> str:
        kind = _("Queue %(name)s") if paused.queue_name else _("Function %(name)s")
        return str(kind % {"name": paused})

    @admin.display(description=_("since"))
    def since(self, paused: Pause) -> SafeString:
        return words.ago(paused, paused.paused_at)


def _unknown(text: Any, name: str, known: Iterable[str]) -> str:
    near = ", ".join(get_close_matches(name, known))
    meant = gettext("Did you mean %(names)s?") % {"names": near}
    return f"{text} {meant}" if near else text
