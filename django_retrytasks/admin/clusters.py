"""The admin of workers: which clusters live, and what each of their workers runs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.http import HttpRequest
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_retrytasks import health
from django_retrytasks.broker import clusters, inline
from django_retrytasks.database import DATABASE_NOW
from django_retrytasks.lifecycle import workers
from django_retrytasks.models import Task, Worker

from . import base, words
from .base import NOTHING, Fact, RowsAdmin, page_url
from .overview import Number

# At most so many Tasks under a claim are read.
HELD_READ = 2_000
# The attribute of a worker in the list: the Tasks that it holds and the user may see.
HELD = "held"
FIELDS = ("name", "cluster", "started_at", "seen_at", "served_at")


class Overview(NamedTuple):
    """The clusters above the list: a number for each, and a warning for each that is missing."""

    numbers: Sequence[Number]
    missing: Sequence[str]


class WorkerChangeList(ChangeList):
    """The workers, with the Tasks that they hold."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        held = _held_by([row.name for row in rows], self.model_admin, request)
        for row in rows:
            setattr(row, HELD, held.get(row.name, []))
        self.result_list: Any = rows

    @cached_property
    def overview(self) -> Overview:
        """Return the overview of the clusters."""
        alive = Counter(workers.alive().values_list("cluster", flat=True))
        configured = [] if inline.is_sync() else clusters.keys()
        names = [*configured, *sorted(alive.keys() - configured)]
        numbers = [Number(name, _alive_of(name, alive[name], configured)) for name in names]
        return Overview(numbers, missing=[name for name in configured if not alive[name]])


@admin.register(Worker)
class WorkerAdmin(RowsAdmin):
    """List the workers of all clusters, and what each one runs. Nobody changes them."""

    list_display = ("state", "name", "cluster", "runs", "looked", "seen", "started")
    list_display_links = ("name",)
    ordering = ("cluster", "name")
    actions = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return WorkerChangeList

    def get_page(self, request: HttpRequest, worker: Worker) -> dict[str, Any]:
        held = _held_by([worker.name], self, request).get(worker.name, [])
        setattr(worker, HELD, held)
        tasks = [Fact(words.short_path(each.name), self._linked(each)) for each in held]
        return {
            "pill": self.state(worker),
            "headline": self.runs(worker) if held else "",
            "sections": [
                *([(_("Tasks under its claim"), tasks)] if tasks else []),
                (_("Worker"), base.fields_of(worker, FIELDS)),
            ],
        }

    @admin.display(description=_("status"))
    def state(self, worker: Worker) -> SafeString:
        if getattr(worker, DATABASE_NOW) - worker.seen_at >= workers.GONE:
            return words.pill("lost", _("Gone"))
        if getattr(worker, HELD):
            return words.pill("running", _("Busy"))
        return words.pill("resolved", _("Alive"))

    @admin.display(description=_("runs"))
    def runs(self, worker: Worker) -> SafeString | str:
        held: list[Task] = getattr(worker, HELD)
        if not held:
            return NOTHING
        first, count = held[0], len(held) - 1
        name = words.short_path(first.name)
        more = ngettext("and %(count)d more", "and %(count)d more", count) % {"count": count}
        return format_html("{} {} {}", name, self._linked(first), more if count else "")

    @admin.display(description=_("looked for work"))
    def looked(self, worker: Worker) -> SafeString:
        return words.ago(worker, worker.served_at)

    @admin.display(description=_("seen"))
    def seen(self, worker: Worker) -> SafeString:
        return words.ago(worker, worker.seen_at)

    @admin.display(description=_("started"))
    def started(self, worker: Worker) -> SafeString:
        return words.ago(worker, worker.started_at)

    def _linked(self, task: Task) -> SafeString:
        """Return the state of a Task, as a link to its page."""
        pages = base.admin_of(self.admin_site, Task)
        url = page_url(pages, "change", task.pk)
        return format_html('<a href="{}">{}</a>', url, words.timing(task))


def _alive_of(name: str, count: int, configured: Iterable[str]) -> str:
    if name not in configured:
        return gettext("%(count)d alive") % {"count": count}
    return gettext("%(count)d of %(all)d alive") % {
        "count": count,
        "all": clusters.workers_of(name),
    }


def _held_by(
    names: Sequence[str], pages: admin.ModelAdmin[Any], request: HttpRequest
) -> Mapping[str, list[Task]]:
    """Return the Tasks under a claim of these workers, by worker, those known to run first.

    Only Tasks that the user may see on this admin site.
    """
    tasks = base.admin_of(pages.admin_site, Task)
    if tasks is None or not tasks.has_view_permission(request):
        return {}
    seen = tasks.get_queryset(request).filter(pk__in=health.running().values("pk"))
    held = seen.filter(worker__in=names).order_by("claimed_at", "pk")[:HELD_READ]
    by_worker: dict[str, list[Task]] = defaultdict(list)
    for task in sorted(held, key=lambda task: task.last_attempted_at is None):
        by_worker[task.worker].append(task)
    return by_worker
