"""The admin of periodic Tasks: when each runs, and what became of it; run one now, or switch it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from django_retrytasks.lifecycle import periodic
from django_retrytasks.models import PeriodicTask, Task
from django_retrytasks.operators.periodic import run_now
from django_retrytasks.operators.wording import calendar_text, next_run_at
from django_retrytasks.tasks import discovery

from . import base, task_page, words
from .base import Button, RowsAdmin, admin_of, page_url
from .confirm import reason_of

WHAT = ("name", "task_name", "cron", "every", "declared_at", "retired_at")
RUNS = ("last_run_at", "planned_at")
SWITCH = ("switched_off_at", "switched_off_by", "reason")


@admin.register(PeriodicTask)
class PeriodicTaskAdmin(RowsAdmin):
    """List the periodic Tasks; users with a permission can run one now, or switch it off and on."""

    list_display = ("state", "name", "function", "calendar", "next_run", "last_run", "latest_task")
    list_display_links = ("name",)
    ordering = ("name",)
    search_fields = ("name", "task_name")
    actions = ("run", "switch_off", "switch_on")

    def has_run_permission(self, request: HttpRequest) -> bool:
        """Whether the user may run periodic Tasks now."""
        return request.user.has_perm("retrytasks.run_periodictask")

    def has_switch_permission(self, request: HttpRequest) -> bool:
        """Whether the user may switch periodic Tasks off and on."""
        return request.user.has_perm("retrytasks.switch_periodictask")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        may_act = self.has_run_permission(request) or self.has_switch_permission(request)
        return may_act or super().has_view_permission(request, obj)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        # Joined, so that a pruned Task is None.
        return super().get_queryset(request).select_related("last_task")

    def get_page(self, request: HttpRequest, row: PeriodicTask) -> dict[str, Any]:
        values = Task(name=row.task_name, args=row.args, kwargs=row.kwargs)
        return {
            "pill": self.state(row),
            "headline": calendar_text(row),
            "buttons": self._buttons(request, row),
            "arguments": task_page.arguments_of(values, discovery.find(row.task_name)),
            "history": base.history_of(row),
            "sections": [
                (_("Runs"), [*self._runs(row), *base.fields_of(row, RUNS)]),
                (_("What"), base.fields_of(row, WHAT)),
                (_("Switch"), base.fields_of(row, SWITCH)),
            ],
        }

    def _buttons(self, request: HttpRequest, row: PeriodicTask) -> list[Button]:
        if row.retired_at:
            return []
        buttons = []
        if self.has_run_permission(request):
            buttons.append(Button(_("Run now"), page_url(self, "run", row.pk), posts=True))
        if self.has_switch_permission(request):
            page = "switch_on" if row.switched_off_at else "switch_off"
            title = _("Switch on") if row.switched_off_at else _("Switch off")
            buttons.append(Button(title, page_url(self, page, row.pk), posts=True))
        return buttons

    def _runs(self, row: PeriodicTask) -> list[base.Fact]:
        return [
            base.Fact(gettext("Next run"), self.next_run(row)),
            base.Fact(gettext("Last Task"), self.latest_task(row)),
        ]

    def get_urls(self) -> list[Any]:
        acts = {
            "run": (self.has_run_permission, self.run),
            "switch_off": (self.has_switch_permission, self.switch_off),
            "switch_on": (self.has_switch_permission, self.switch_on),
        }
        own = [
            self.page_pattern(f"<uuid:pk>/{name}/", require_POST(partial(self._act, *act)), name)
            for name, act in acts.items()
        ]
        return [*own, *super().get_urls()]

    def _act(
        self,
        may: Callable[[HttpRequest], bool],
        act: Callable[[HttpRequest, QuerySet[PeriodicTask]], None],
        request: HttpRequest,
        pk: uuid.UUID,
    ) -> HttpResponse:
        if not may(request):
            raise PermissionDenied
        act(request, self.get_queryset(request).filter(pk=pk))
        return HttpResponseRedirect(page_url(self, "change", pk))

    @admin.action(description=_("Run now"), permissions=["run"])
    def run(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        done = _("Enqueued: %(what)s.")
        declared = queryset.filter(retired_at=None)

        def act(row: PeriodicTask, reason: str) -> bool:
            result = run_now(row)
            is_new: bool = getattr(result, "created", True)  # a backend elsewhere does not say
            if not is_new:
                text = _("%(what)s: not enqueued, since Task %(id)s holds its unique key.")
                values = {"what": row, "id": result.id}
                self.message_user(request, text % values, messages.WARNING)
            return is_new

        self._do(request, declared, _("Run now"), done, act)

    @admin.action(description=_("Switch off"), permissions=["switch"])
    def switch_off(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        by, done = request.user.get_username(), _("Switched off: %(what)s.")

        def act(row: PeriodicTask, reason: str) -> bool:
            return periodic.switch_off(row.pk, by=by, reason=reason)

        self._do(request, queryset, _("Switch off"), done, act)

    @admin.action(description=_("Switch on"), permissions=["switch"])
    def switch_on(self, request: HttpRequest, queryset: QuerySet[PeriodicTask]) -> None:
        done = _("Switched on: %(what)s.")
        self._do(request, queryset, _("Switch on"), done, lambda row, _: periodic.switch_on(row.pk))

    def _do(
        self,
        request: HttpRequest,
        rows: QuerySet[PeriodicTask],
        verb: Any,
        done: Any,
        act: Callable[[PeriodicTask, str], bool],
    ) -> None:
        """Act on each row with the user's reason; log and report what was done."""
        self.refuse_hidden(request, rows)
        reason = reason_of(request)
        for row in rows:
            try:
                is_done = act(row, reason)
            except Exception as error:  # wrong code of the site, or wrong settings
                text = gettext("%(what)s: %(error)s") % {"what": row, "error": error}
                self.message_user(request, text, messages.ERROR)
                continue
            if is_done:
                base.log(request, [row], verb, reason)
                self.message_user(request, done % {"what": row}, messages.SUCCESS)

    @admin.display(description=_("state"))
    def state(self, row: PeriodicTask) -> SafeString:
        if row.retired_at:
            return words.pill("retired", gettext("Retired"))
        if row.switched_off_at:
            return words.pill("off", gettext("Off"))
        return words.pill("on", gettext("On"))

    @admin.display(description=_("function"))
    def function(self, row: PeriodicTask) -> SafeString:
        short = words.short_path(row.task_name)
        return format_html('<span title="{}">{}</span>', row.task_name, short)

    @admin.display(description=_("calendar"))
    def calendar(self, row: PeriodicTask) -> str:
        return calendar_text(row)

    @admin.display(description=_("next run"))
    def next_run(self, row: PeriodicTask) -> str:
        at = next_run_at(row)
        return words.time_tag(at) if at else base.NOTHING

    @admin.display(description=_("last run"))
    def last_run(self, row: PeriodicTask) -> SafeString:
        return words.ago(row, row.last_run_at)

    @admin.display(description=_("last Task"))
    def latest_task(self, row: PeriodicTask) -> str:
        """Return the status of the Task enqueued last, with a link to its page if there is one."""
        task = row.last_task
        if task is None:
            return base.NOTHING
        pill = words.pill(task.status, task.get_status_display())
        pages = admin_of(self.admin_site, Task)
        if pages is None:
            return pill
        return format_html('<a href="{}">{}</a>', page_url(pages, "change", task.pk), pill)
