"""The admin of operations: their progress, and a button that stops them."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from django_retrytasks.models import Operation
from django_retrytasks.operators import operations
from django_retrytasks.operators.verbs import permission_for
from django_retrytasks.values.texts import translated

from . import base, words
from .base import Button, RowsAdmin, page_url
from .confirm import reason_of

# Seconds between two refreshes of a running operation's page.
REFRESH = 2
WHAT = ("verb", "countdown", "selection", "per_minute", "canary")
WHO = ("started_by", "reason", "started_at", "finished_at", "stopped_because")
COUNTS = ("matched_count", "done_count", "skipped_count")


@admin.register(Operation)
class OperationAdmin(RowsAdmin):
    """Watch operations, and stop running ones."""

    list_display = ("state", "what", "progress", "started", "started_by", "reason")
    list_display_links = ("what",)
    list_filter = ("status", "verb")
    ordering = ("-id",)
    actions = None

    def has_stop_permission(self, request: HttpRequest, operation: Operation) -> bool:
        """Whether the user may stop an operation: needs the permission of its verb."""
        return request.user.has_perm(permission_for(operation.verb))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        response = super().render_change_form(request, context, *args, **kwargs)
        if context["is_watched"]:
            response["Refresh"] = str(REFRESH)
        return response

    def get_page(self, request: HttpRequest, operation: Operation) -> dict[str, Any]:
        runs = operation.status == Operation.Status.RUNNING
        stop = Button(_("Stop"), page_url(self, "stop", operation.pk), posts=True)
        return {
            "pill": self.state(operation),
            "progress": self.progress(operation),
            "stopped_because": translated(operation.stopped_because),
            "gone_through": operation.done_count + operation.skipped_count,
            "buttons": [stop] if runs and self.has_stop_permission(request, operation) else [],
            "is_watched": runs and "still" not in request.GET,
            "sections": [
                (_("Counts"), base.fields_of(operation, COUNTS)),
                (_("What"), base.fields_of(operation, WHAT)),
                (_("Who, when and why"), base.fields_of(operation, WHO)),
            ],
        }

    def get_urls(self) -> list[Any]:
        own = self.page_pattern("<uuid:pk>/stop/", require_POST(self._stop_view), "stop")
        return [own, *super().get_urls()]

    def _stop_view(self, request: HttpRequest, pk: uuid.UUID) -> HttpResponse:
        operation = self.get_object(request, str(pk))
        if operation is None or not self.has_stop_permission(request, operation):
            raise PermissionDenied
        self.refuse_hidden(request, [operation])
        reason = reason_of(request)
        by = f"by {request.user.get_username()}"
        if operations.stop(pk, f"{by}: {reason}" if reason else by):
            base.log(request, [operation], _("Stop"), reason)
            self.message_user(request, gettext("The operation was stopped."), messages.SUCCESS)
        else:
            self.message_user(request, gettext("It was over already."), messages.WARNING)
        return HttpResponseRedirect(page_url(self, "change", pk))

    @admin.display(description=_("verb"))
    def what(self, operation: Operation) -> str:
        return operation.get_verb_display()

    @admin.display(description=_("progress"))
    def progress(self, operation: Operation) -> str:
        counts = {
            "done": operation.done_count,
            "most": operation.matched_count,
            "skipped": operation.skipped_count,
        }
        if operation.matched_count >= operations.MATCH_LIMIT:
            return gettext("%(done)d of %(most)d or more done, %(skipped)d skipped") % counts
        return gettext("%(done)d of %(most)d done, %(skipped)d skipped") % counts

    @admin.display(description=_("started"))
    def started(self, operation: Operation) -> SafeString:
        return words.ago(operation, operation.started_at)
