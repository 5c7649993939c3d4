"""The operators' verbs in the admin: each asks for confirmation and is logged."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from itertools import islice
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
from django.utils.translation import gettext, override

from django_retrytasks.database import writing
from django_retrytasks.models import Operation, Status, Task
from django_retrytasks.operators import columns, operations, selections
from django_retrytasks.operators.selections import Selection
from django_retrytasks.operators.verbs import VERBS, Verb, refused

from .base import Button, RowsAdmin, admin_of, log, page_url
from .confirm import ConfirmForm, preview_of
from .filters import selection_of

# A message names so many Tasks.
HOLDERS_SHOWN = 10
# Django's parameter for the list's query, by which a page leads back to the list.
FILTERS = "_changelist_filters"
# The verbs by their names in methods and URLs.
BY_SLUG = {verb.slug: verb for verb in VERBS.values()}
# Since Django 6.1 a Task's page offers actions itself.
PLACES: dict[str, Any] = (
    {"location": list(admin.ActionLocation)} if django.VERSION >= (6, 1) else {}
)


class TaskActions(RowsAdmin):
    """Apply a verb to one Task, to the ticked Tasks, or to all Tasks that match the filters.

    One Task and ticked Tasks change at once; all matches change by an operation with a page of its
    own. Each verb of `VERBS` has an action and a permission method, such as ``redrive`` and
    ``has_redrive_permission``, added by :func:`_add`.
    """

    actions = tuple(BY_SLUG)

    def get_selection(self, request: HttpRequest) -> Selection:
        """Return the Tasks visible to this request, such as {"queue_name": "orders"}; {}: all.

        It limits the list, the pages, the actions and the operations started here.
        """
        return {}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: Any = super().get_queryset(request)
        return selections.select(rows, {"internal": "all", **self.get_selection(request)})

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by id, search key, function, then error; the first kind that matches wins."""
        if not search_term.strip():
            return queryset, False
        selection = {"internal": "all", "search": search_term}
        return selections.select(queryset, selection), False  # type: ignore[arg-type]

    def _narrowed(self, request: HttpRequest, selection: Selection) -> Selection:
        """Return the part of a selection that is visible to this request.

        Raises:
            ValueError: no selection describes that part; the message says why.
        """
        if self._defines("get_queryset") and not self._defines("get_selection"):
            name = type(self).__name__
            raise ValueError(f"{name}.get_queryset narrows the list: define get_selection instead")
        if "search" in selection and self._defines("get_search_results"):
            name = type(self).__name__
            raise ValueError(f"{name}.get_search_results: an operation cannot repeat this search")
        return selections.intersection(self.get_selection(request), selection)

    def _defines(self, name: str) -> bool:
        """Whether a class of the site overrides or adds a method."""
        # No other class of this package may define it: it would count as the site's.
        own = (cls for cls in type(self).__mro__ if cls not in TaskActions.__mro__)
        return any(name in vars(cls) for cls in own)

    def has_verb_permission(self, request: HttpRequest, verb: Verb) -> bool:
        """Whether the user may do a verb; each verb's own method calls this one."""
        return request.user.has_perm(verb.permission)

    def may(self, request: HttpRequest, verb: Verb) -> bool:
        """Return the answer of a verb's permission method, which a subclass may override."""
        return bool(getattr(self, f"has_{verb.slug}_permission")(request))

    def get_page(self, request: HttpRequest, task: Task) -> dict[str, Any]:
        buttons = [
            Button(verb.label, page_url(self, "do", task.pk, verb.slug))
            for verb in VERBS.values()
            if task.status in verb.act.changes and self.may(request, verb)
        ]
        return {"buttons": buttons}

    def get_urls(self) -> list[Any]:
        return [
            self.page_pattern("all/<slug:word>/", self._all_view, "all"),
            self.page_pattern("selected/<slug:word>/", self._selected_view, "selected"),
            self.page_pattern("<uuid:pk>/do/<slug:word>/", self._one_view, "do"),
            *super().get_urls(),
        ]

    def _ask(self, request: HttpRequest, verb: Verb) -> HttpResponse | None:
        """Answer an action of the list or, since Django 6.1, of a Task's page."""
        if request.POST.get("select_across", "0") != "0":
            return self._ask_for_all(request, verb)
        return self._some(request, verb, _chosen_ids(request))

    def _ask_for_all(self, request: HttpRequest, verb: Verb) -> HttpResponse | None:
        try:
            selection = self._narrowed(request, selection_of(request))
        except ValueError as error:
            self.message_user(request, str(error), messages.ERROR)
            return None
        url = page_url(self, "all", verb.slug)
        return HttpResponseRedirect(f"{url}?{urlencode(selection)}")

    def _all_view(self, request: HttpRequest, word: str) -> HttpResponse:
        verb = self._allowed(request, word)
        try:
            selection = selections.as_of_now(self._narrowed(request, request.GET.dict()))
            rows = operations.matching(verb.name, selection)
        except ValueError as error:
            raise BadRequest(str(error)) from None
        form = ConfirmForm(_form_data(request), verb=verb, in_background=True)
        if form.is_valid():
            return self._start(request, selection, form)
        return self._confirm(request, rows, form, is_all=True)

    def _selected_view(self, request: HttpRequest, word: str) -> HttpResponse:
        verb = self._allowed(request, word)
        back = f"{page_url(self, 'changelist')}?{_list_filters_of(request)}"
        return self._some(request, verb, _chosen_ids(request), _form_data(request), back)

    def _one_view(self, request: HttpRequest, word: str, pk: uuid.UUID) -> HttpResponse:
        verb = self._allowed(request, word)
        return self._some(request, verb, [pk], _form_data(request), page_url(self, "change", pk))

    def _some(
        self,
        request: HttpRequest,
        verb: Verb,
        ids: Sequence[uuid.UUID],
        data: Any = None,
        back: str = "",
    ) -> HttpResponse:
        """Do a verb and redirect back; ask for confirmation until ``data`` is valid."""
        rows = self.get_queryset(request).filter(pk__in=ids)
        if len(ids) > 1:
            rows = rows.defer(*columns.BIG)
        self.refuse_hidden(request, rows)
        single = next(iter(rows), None) if len(ids) == 1 else None
        form = ConfirmForm(data, verb=verb, task=single)
        if form.is_valid():
            self._do(request, ids, form)
            return HttpResponseRedirect(back)
        query = urlencode({FILTERS: _list_filters_of(request)})
        url = f"{page_url(self, 'selected', verb.slug)}?{query}"
        if len(ids) == 1:
            url = page_url(self, "do", ids[0], verb.slug)
        rows = rows.filter(status__in=verb.act.changes)
        return self._confirm(request, rows, form, ids=ids, form_url=url)

    def _allowed(self, request: HttpRequest, word: str) -> Verb:
        """Return the verb in a URL; refuse a user who may not view Tasks or do the verb."""
        if word not in BY_SLUG:
            raise Http404
        verb = BY_SLUG[word]
        self.refuse_hidden(request)
        if not self.may(request, verb):
            raise PermissionDenied
        return verb

    def _confirm(
        self, request: HttpRequest, rows: QuerySet[Task], form: ConfirmForm, **about: Any
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": form.verb.label,
            "has_view_permission": True,
            "media": self.media,
            "meaning": form.verb.meaning,
            "preview": preview_of(rows),
            "form": form,
            "errors": form.errors,
            "checkbox_name": ACTION_CHECKBOX_NAME,
            "back_url": page_url(self, "changelist"),
            **about,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/retrytasks/confirm.html", context)

    def _do(self, request: HttpRequest, ids: Sequence[uuid.UUID], form: ConfirmForm) -> None:
        rows = self.get_queryset(request).filter(pk__in=ids).order_by()
        verb, options, reason = form.verb, form.options(), form.cleaned_data["reason"]
        signature = verb.signature(request.user.get_username(), reason)
        with writing():
            changed = verb.act.change(rows.values_list("pk", flat=True), **options, **signature)
            log(request, changed, _what(verb, options), reason)
        left = rows.exclude(pk__in=[task.pk for task in changed])
        statuses = left.values_list("status", flat=True)
        skipped = Counter(str(Status(status).label) for status in statuses)
        skipped[gettext("gone")] = len(ids) - len(changed) - skipped.total()
        done = verb.report % {"count": len(changed)}
        level = messages.WARNING if skipped.total() else messages.SUCCESS
        why = _skipped_text(+skipped), _refused_text(verb, ids)
        self.message_user(request, " ".join([done, *filter(None, why)]), level)

    def _start(self, request: HttpRequest, selection: Selection, form: ConfirmForm) -> HttpResponse:
        verb, options, reason = form.verb, form.options(), form.cleaned_data["reason"]
        by = request.user.get_username()
        with writing():
            operation = operations.start(verb.name, selection, by=by, reason=reason, **options)
            log(request, [operation], _what(verb, options), reason, ADDITION)
        self.message_user(request, gettext("The operation began."), messages.SUCCESS)
        pages = admin_of(self.admin_site, Operation)
        if pages and pages.has_view_permission(request):
            return HttpResponseRedirect(page_url(pages, "change", operation.pk))
        return HttpResponseRedirect(page_url(self, "changelist"))


def _add(verb: Verb) -> None:
    """Add a verb's action and its permission method to TaskActions."""

    def act(self: TaskActions, request: HttpRequest, rows: QuerySet[Task]) -> HttpResponse | None:
        return self._ask(request, verb)

    def has_permission(self: TaskActions, request: HttpRequest) -> bool:
        return self.has_verb_permission(request, verb)

    action = admin.action(act, description=verb.label, permissions=[verb.slug], **PLACES)
    setattr(TaskActions, verb.slug, action)
    setattr(TaskActions, f"has_{verb.slug}_permission", has_permission)


for _verb in VERBS.values():
    _add(_verb)


def _form_data(request: HttpRequest) -> Any:
    return request.POST if request.method == "POST" else None


def _list_filters_of(request: HttpRequest) -> str:
    """Return the query of the list that the user came from."""
    return request.GET.get(FILTERS, request.GET.urlencode())


def _chosen_ids(request: HttpRequest) -> list[uuid.UUID]:
    """Return the ids of the ticked Tasks."""
    try:
        return list(dict.fromkeys(map(uuid.UUID, request.POST.getlist(ACTION_CHECKBOX_NAME))))
    except ValueError:
        raise BadRequest("an id of a Task is expected") from None


def _what(verb: Verb, options: dict[str, Any]) -> str:
    """Return the verb with its inputs, such as "Snooze (countdown 60)"."""
    with override(None):
        name = str(verb.label)
    # Arguments are omitted: they may hold secrets.
    numbers = [f"{key} {value:g}" for key, value in options.items() if key != "arguments"]
    inputs = ", ".join(["changed arguments"] * ("arguments" in options) + numbers)
    return f"{name} ({inputs})" if inputs else name


def _skipped_text(skipped: Counter[str]) -> str:
    """Return the number of skipped Tasks and their statuses; "" for none."""
    if not skipped:
        return ""
    why = ", ".join(f"{count} {status}" for status, count in skipped.items())
    return gettext("%(count)d skipped: %(why)s.") % {"count": skipped.total(), "why": why}


def _refused_text(verb: Verb, ids: Sequence[uuid.UUID]) -> str:
    """Return which Tasks hold the unique keys of skipped ones; "" for none."""
    holders = refused(verb, ids)
    if not holders:
        return ""
    shown = ", ".join(map(str, islice(dict.fromkeys(holders.values()), HOLDERS_SHOWN)))
    return gettext("Other Tasks hold their unique keys: %(ids)s.") % {"ids": shown}
