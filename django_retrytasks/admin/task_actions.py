"""What operators do to Tasks: each verb asks first, and is written to the admin's log."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import django
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import ADDITION
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.translation import gettext, ngettext_lazy, override
from django.utils.translation import gettext_lazy as _

from django_retrytasks.database import writing
from django_retrytasks.models import Operation, Status, Task
from django_retrytasks.operators import operations, selections
from django_retrytasks.operators.selections import Selection

from .base import (
    FILTERS,
    Button,
    admin_of,
    chosen_ids,
    form_data,
    list_filters_of,
    log,
    operation_url,
    task_url,
)
from .changelist import BIG_COLUMNS
from .confirm import ConfirmForm, preview_of
from .filters import selection_of
from .rows import RowsAdmin

VERB = Operation.Verb

# The verbs, as methods and URLs have them.
ACTIONS = tuple(verb.lower() for verb in VERB)
DONE = {
    VERB.REDRIVE: ngettext_lazy("%(count)d Task re-driven.", "%(count)d Tasks re-driven.", "count"),
    VERB.RUN_NOW: ngettext_lazy("%(count)d Task made due.", "%(count)d Tasks made due.", "count"),
    VERB.SNOOZE: ngettext_lazy("%(count)d Task snoozed.", "%(count)d Tasks snoozed.", "count"),
    VERB.DISCARD: ngettext_lazy("%(count)d Task discarded.", "%(count)d Tasks discarded.", "count"),
    VERB.CANCEL: ngettext_lazy("%(count)d Task cancelled.", "%(count)d Tasks cancelled.", "count"),
}
# What each verb does, for who is asked.
MEANING = {
    VERB.REDRIVE: _("Failed Tasks run again, their ids and attempts kept, their retries anew."),
    VERB.RUN_NOW: _("Waiting Tasks run at once, not when their countdown is over."),
    VERB.SNOOZE: _("Waiting Tasks wait longer; no retry is spent."),
    VERB.DISCARD: _("Tasks that wait or have failed are dropped."),
    VERB.CANCEL: _(
        "Tasks that wait or run are dropped. A function that runs is not interrupted; what comes "
        "of it is refused."
    ),
}


class TaskActions(RowsAdmin):
    """Re-drive, run now, snooze, discard and cancel: one Task, those selected, all that match.

    Some are changed at once. All that the list's filters match are changed by an operation, which
    has a page of its own.
    """

    actions = ACTIONS

    # ---- which Tasks there are here

    def get_selection(self, request: HttpRequest) -> Selection:
        """Return which Tasks there are for this request, as {"queue_name": "orders"}; {}: all.

        The list, the pages, the actions and the operations begun here know no others.
        """
        return {}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        return selections.select(rows, {"internal": "all", **self.get_selection(request)})

    def _narrowed(self, request: HttpRequest, asked: Selection) -> Selection:
        """Return what is asked for, of the Tasks there are here.

        Raises:
            ValueError: no selection can say that; the message tells why.
        """
        if self._defines("get_queryset") and not self._defines("get_selection"):
            name = type(self).__name__
            raise ValueError(f"{name}.get_queryset narrows the list; let get_selection say how")
        if "search" in asked and self._defines("get_search_results"):
            name = type(self).__name__
            raise ValueError(f"{name}.get_search_results searches otherwise than an operation can")
        return selections.among(self.get_selection(request), asked)

    def _defines(self, name: str) -> bool:
        """Whether a class of the site's has a method in place of ours, or beside it."""
        own = (cls for cls in type(self).__mro__ if cls not in TaskActions.__mro__)
        return any(name in vars(cls) for cls in own)

    # ---- who may

    def has_redrive_permission(self, request: HttpRequest) -> bool:
        """Whether the user may re-drive Tasks."""
        return request.user.has_perm("retrytasks.redrive_task")

    def has_run_now_permission(self, request: HttpRequest) -> bool:
        """Whether the user may have waiting Tasks run at once."""
        return request.user.has_perm("retrytasks.run_now_task")

    def has_snooze_permission(self, request: HttpRequest) -> bool:
        """Whether the user may snooze Tasks."""
        return request.user.has_perm("retrytasks.snooze_task")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Whether the user may discard Tasks."""
        return request.user.has_perm("retrytasks.discard_task")

    def has_cancel_permission(self, request: HttpRequest) -> bool:
        """Whether the user may cancel Tasks."""
        return request.user.has_perm("retrytasks.cancel_task")

    def _may(self, request: HttpRequest, verb: str) -> bool:
        return bool(getattr(self, f"has_{verb.lower()}_permission")(request))

    # ---- where it begins: the list's actions, the buttons of a page

    @admin.action(description=_("Re-drive"), permissions=["redrive"])
    def redrive(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, VERB.REDRIVE)

    @admin.action(description=_("Run now"), permissions=["run_now"])
    def run_now(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, VERB.RUN_NOW)

    @admin.action(description=_("Snooze"), permissions=["snooze"])
    def snooze(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, VERB.SNOOZE)

    @admin.action(description=_("Discard"), permissions=["discard"])
    def discard(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, VERB.DISCARD)

    @admin.action(description=_("Cancel"), permissions=["cancel"])
    def cancel(self, request: HttpRequest, queryset: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, VERB.CANCEL)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        task = context["original"]
        context["buttons"] = [
            Button(title=verb.label, url=task_url(self.admin_site, "do", task.pk, verb.lower()))
            for verb in VERB
            if task.status in operations.CHANGES[verb] and self._may(request, verb)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def get_urls(self) -> list[Any]:
        own = [
            path("all/<slug:word>/", self._all_view, name="retrytasks_task_all"),
            path("selected/<slug:word>/", self._selected_view, name="retrytasks_task_selected"),
            path("<uuid:pk>/do/<slug:word>/", self._one_view, name="retrytasks_task_do"),
        ]
        for pattern in own:
            pattern.callback = self.admin_site.admin_view(pattern.callback)
        return [*own, *super().get_urls()]

    # ---- asking, and doing it

    def _ask(self, request: HttpRequest, verb: VERB) -> HttpResponse | None:
        """Answer the list, or on Django 6.1 a Task's page, where an action was chosen."""
        if request.POST.get("select_across", "0") != "0":
            return self._ask_for_all(request, verb)
        ids = chosen_ids(request)
        self.refuse_hidden(request, self._rows(request, ids))
        return self._confirm_some(request, verb, ids, self._form(request, verb, ids, None))

    def _ask_for_all(self, request: HttpRequest, verb: VERB) -> HttpResponse | None:
        try:
            selection = self._narrowed(request, selection_of(request))
        except ValueError as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        url = task_url(self.admin_site, "all", verb.lower())
        return HttpResponseRedirect(f"{url}?{urlencode(selection)}")

    def _all_view(self, request: HttpRequest, word: str) -> HttpResponse:
        verb = self._allowed(request, word)
        try:
            selection = selections.as_of_now(self._narrowed(request, request.GET.dict()))
            rows = operations.matching(verb, selection)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        form = ConfirmForm(form_data(request), verb=verb, in_background=True)
        if form.is_valid():
            return self._start(request, verb, selection, form)
        return self._confirm(request, verb, rows, form, {"is_all": True})

    def _selected_view(self, request: HttpRequest, word: str) -> HttpResponse:
        url = f"{task_url(self.admin_site, 'changelist')}?{list_filters_of(request)}"
        return self._some_view(request, word, chosen_ids(request), url)

    def _one_view(self, request: HttpRequest, word: str, pk: uuid.UUID) -> HttpResponse:
        url = task_url(self.admin_site, "change", pk)
        return self._some_view(request, word, [pk], url)

    def _some_view(
        self, request: HttpRequest, word: str, ids: Sequence[uuid.UUID], afterwards: str
    ) -> HttpResponse:
        verb = self._allowed(request, word)
        self.refuse_hidden(request, self._rows(request, ids))
        form = self._form(request, verb, ids, form_data(request))
        if not form.is_valid():
            return self._confirm_some(request, verb, ids, form)
        self._do(request, verb, ids, form)
        return HttpResponseRedirect(afterwards)

    def _rows(self, request: HttpRequest, ids: Sequence[uuid.UUID]) -> QuerySet[Task]:
        return self.get_queryset(request).filter(pk__in=ids).defer(*BIG_COLUMNS)

    def _form(
        self, request: HttpRequest, verb: VERB, ids: Sequence[uuid.UUID], data: Any
    ) -> ConfirmForm:
        alone = self.get_queryset(request).filter(pk__in=ids).first() if len(ids) == 1 else None
        return ConfirmForm(data, verb=verb, task=alone)

    def _allowed(self, request: HttpRequest, word: str) -> VERB:
        """Return the verb that a URL names, if the user may do it, and see what it is done to."""
        if word not in ACTIONS:
            raise Http404
        verb = VERB(word.upper())
        self.refuse_hidden(request)
        if not self._may(request, verb):
            raise PermissionDenied
        return verb

    def _confirm_some(
        self, request: HttpRequest, verb: VERB, ids: Sequence[uuid.UUID], form: ConfirmForm
    ) -> HttpResponse:
        rows = self._rows(request, ids).filter(status__in=operations.CHANGES[verb])
        query = urlencode({FILTERS: list_filters_of(request)})
        url = f"{task_url(self.admin_site, 'selected', verb.lower())}?{query}"
        if len(ids) == 1:
            url = task_url(self.admin_site, "do", ids[0], verb.lower())
        return self._confirm(request, verb, rows, form, {"ids": ids, "form_url": url})

    def _confirm(
        self,
        request: HttpRequest,
        verb: VERB,
        rows: QuerySet[Task],
        form: ConfirmForm,
        about: dict[str, Any],
    ) -> HttpResponse:
        preview = preview_of(rows)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": verb.label,
            "has_view_permission": True,
            "media": self.media,
            "meaning": MEANING[verb],
            "preview": preview,
            "form": form,
            "errors": form.errors,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "back_url": task_url(self.admin_site, "changelist"),
            **about,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/retrytasks/confirm.html", context)

    def _do(
        self, request: HttpRequest, verb: VERB, ids: Sequence[uuid.UUID], form: ConfirmForm
    ) -> None:
        rows = self._rows(request, ids).order_by()
        options = form.options()
        with writing():
            changed = operations.do(verb, rows.values_list("pk", flat=True), **options)
            log(request, changed, _what(verb, options), form.cleaned_data["reason"])
        left = rows.exclude(pk__in=[task.pk for task in changed])
        statuses = left.values_list("status", flat=True)
        skipped = Counter(str(Status(status).label) for status in statuses)
        skipped[gettext("gone")] = len(ids) - len(changed) - skipped.total()
        done = DONE[verb] % {"count": len(changed)}
        level = messages.WARNING if skipped.total() else messages.SUCCESS
        self.message_user(request, f"{done} {_told(+skipped)}".strip(), level)

    def _start(
        self, request: HttpRequest, verb: VERB, selection: Selection, form: ConfirmForm
    ) -> HttpResponse:
        options, reason = form.options(), form.cleaned_data["reason"]
        by = request.user.get_username()
        with writing():
            operation = operations.start(verb, selection, by=by, reason=reason, **options)
            log(request, [operation], _what(verb, options), reason, ADDITION)
        self.message_user(request, gettext("The operation began."), messages.SUCCESS)
        pages = admin_of(self.admin_site, Operation)
        if pages and pages.has_view_permission(request):
            return HttpResponseRedirect(operation_url(self.admin_site, "change", operation.pk))
        return HttpResponseRedirect(task_url(self.admin_site, "changelist"))


if django.VERSION >= (6, 1):
    # There a Task's page offers its actions by itself.
    for _word in ACTIONS:
        getattr(TaskActions, _word).locations = list(admin.ActionLocation)


def _what(verb: VERB, options: dict[str, Any]) -> str:
    """Return the verb and what was asked with it, such as "Snooze (countdown 60)"."""
    with override(None):
        name = str(verb.label)
    # Arguments are not written here: they may hold secrets.
    numbers = [f"{key} {value:g}" for key, value in options.items() if key != "arguments"]
    asked = ", ".join(["changed arguments"] * ("arguments" in options) + numbers)
    return f"{name} ({asked})" if asked else name


def _told(skipped: Counter[str]) -> str:
    """Return how many were skipped, and why: the status they have."""
    if not skipped:
        return ""
    why = ", ".join(f"{count} {status}" for status, count in skipped.items())
    return gettext("%(count)d skipped: %(why)s.") % {"count": skipped.total(), "why": why}
