"""The admin of breakers: which are open, and why; open and close them."""

from __future__ import annotations

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

from django_retrytasks.models import OpenBreaker, fingerprint_of
from django_retrytasks.operators import breakers
from django_retrytasks.tasks.arguments import as_breaker_key

from . import base, words
from .base import Button, RowsAdmin, page_url
from .confirm import reason_of

WHY = ("name", "key", "state", "opened_at", "opened_by", "reason", "exception_class_path")
PROBES = ("probe_every", "next_probe_at", "probe", "failed_probe_count")


class BreakerForm(forms.ModelForm):  # type: ignore[type-arg]  # generic only for mypy
    """Ask for a function whose breaker to open, the key, and a reason."""

    class Meta:
        model = OpenBreaker
        fields = ("name", "key", "reason")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "name" in self.fields:
            self.fields["name"].widget.attrs["list"] = "rt-name"

    def clean(self) -> dict[str, Any] | None:
        """Refuse a function without a breaker, and a key that does not fit it."""
        given: dict[str, Any] = super().clean() or {}
        if "name" in given:
            try:
                breakers.refuse_misfit(given["name"], given.get("key", ""))
            except ValueError as error:
                raise ValidationError({"name": str(error)}) from None
        return given


@admin.register(OpenBreaker)
class BreakerAdmin(RowsAdmin):
    """List the breakers that are not closed; users with the permission open and close them."""

    form = BreakerForm
    list_display = ("status", "what", "since", "next_probe", "opened_by", "why")
    list_display_links = ("what",)
    list_filter = ("state",)
    ordering = ("-opened_at",)
    actions = ("close",)

    def has_work_permission(self, request: HttpRequest) -> bool:
        """Whether the user may open and close breakers."""
        return request.user.has_perm("retrytasks.work_breaker")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_work_permission(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return self.has_work_permission(request)

    def save_model(self, request: HttpRequest, obj: OpenBreaker, form: Any, change: bool) -> None:
        by = request.user.get_username()
        breakers.open_breaker(obj.name, obj.key, by=by, reason=obj.reason)
        row = fingerprint_of((obj.name, as_breaker_key(obj.key)))
        obj.pk = OpenBreaker.objects.get(fingerprint=row).pk

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        reason = form.cleaned_data["reason"]
        return f"Open: {reason}" if reason else "Open"

    def get_page(self, request: HttpRequest, row: OpenBreaker | None) -> dict[str, Any]:
        if row is None:
            return {"suggestions": {"name": breakers.names()}}
        # Django's own button "Close" leaves the page.
        close = Button(_("Close breaker"), page_url(self, "close", row.pk), posts=True)
        return {
            "buttons": [close] if row.is_open and self.has_work_permission(request) else [],
            "sections": [
                (_("Breaker"), base.fields_of(row, WHY)),
                (_("Probes"), base.fields_of(row, PROBES)),
            ],
        }

    def get_urls(self) -> list[Any]:
        own = self.page_pattern("<int:pk>/close/", require_POST(self._close_view), "close")
        return [own, *super().get_urls()]

    def _close_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        if not self.has_work_permission(request):
            raise PermissionDenied
        self.close(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page_url(self, "changelist"))

    @admin.action(description=_("Close"), permissions=["work"])
    def close(self, request: HttpRequest, queryset: QuerySet[OpenBreaker]) -> None:
        self.refuse_hidden(request, queryset)
        reason, by = reason_of(request), request.user.get_username()
        for row in queryset:
            if breakers.close_breaker(row.name, row.key, by=by, reason=reason):
                base.log(request, [row], _("Close"), reason, DELETION)
                text = gettext("Closed: %(what)s.") % {"what": row}
                self.message_user(request, text, messages.SUCCESS)

    @admin.display(description=_("status"))
    def status(self, row: OpenBreaker) -> SafeString:
        return words.pill("retrying" if row.is_open else "running", row.get_state_display())

    @admin.display(description=_("what"))
    def what(self, row: OpenBreaker) -> str:
        return str(row)

    @admin.display(description=_("since"))
    def since(self, row: OpenBreaker) -> SafeString:
        return words.ago(row, row.opened_at)

    @admin.display(description=_("next probe"))
    def next_probe(self, row: OpenBreaker) -> SafeString | str:
        return words.time_tag(row.next_probe_at) if row.is_open else base.NOTHING

    @admin.display(description=_("reason"))
    def why(self, row: OpenBreaker) -> str:
        return row.get_reason_display() or base.NOTHING
