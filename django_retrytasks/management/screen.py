"""The screen of ``top``, drawn by rich: queues, running Tasks, failing groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from django_retrytasks import health
from django_retrytasks.database import DATABASE_NOW, DatabaseNow
from django_retrytasks.health import Health
from django_retrytasks.lifecycle import tallies
from django_retrytasks.models import FailureGroup, Task
from django_retrytasks.operators import wording
from django_retrytasks.values.texts import span

from .terminal import moment, printable, spaced

MINUTE = timedelta(minutes=1)
# Rows of each table.
RUNNING_SHOWN, GROUPS_SHOWN, QUEUES_SHOWN = 15, 5, 20


def draw() -> RenderableType:
    """Return the screen of this moment.

    It takes three queries besides ``health.check()``, each by an index.
    """
    state = health.check()
    return Group(_head(state), _queues(state), _running(), _groups())


def _head(state: Health) -> Text:
    due = sum(queue.due_count for queue in state.queues if not queue.is_paused)
    first = f"due {due}, the oldest for {span(state.lag)}   running {state.running_count}"
    last = f"last claim {moment(state.last_claim_at)}   last sweep {moment(state.swept_at)}"
    return Text(f"{first}   {_ended()}\n{last}\n")


def _ended() -> str:
    """Return how many Tasks ended in the last minute, in words."""
    now = Task.objects.values_list(DatabaseNow(), flat=True).first()
    ended = tallies.ended(now - MINUTE) if now else []
    succeeded = sum(tally.succeeded_count + tally.retried_count for tally in ended)
    failed = sum(tally.failed_count for tally in ended)
    expired = sum(tally.expired_count for tally in ended)
    count = succeeded + failed + expired
    return f"ended in a minute {count}, of them failed {failed}, expired {expired}"


def _queues(state: Health) -> Table:
    rows = (
        (queue.queue_name, queue.due_count, span(queue.lag), "paused" if queue.is_paused else "")
        for queue in state.queues[:QUEUES_SHOWN]
    )
    return _table(("queue", "due", "oldest due for", ""), rows)


def _running() -> Table:
    now = {DATABASE_NOW: DatabaseNow()}
    oldest = health.running().annotate(**now).only(*FIELDS).order_by("pk")[:RUNNING_SHOWN]
    rows = ((task.name, task.attempt_count + 1, _since(task), task.worker) for task in oldest)
    return _table(("running", "attempt", "since", "worker"), rows)


FIELDS = (
    *("name", "status", "attempt_count", "worker", "run_after", "queued_at", "claimed_at"),
    *("last_attempted_at", "finished_at"),
)


def _since(task: Task) -> str:
    phase = wording.phase_of(task)
    return spaced(str(phase.short % {"span": wording.span_of(task, phase)}))


def _groups() -> Table:
    failing = FailureGroup.objects.failing().order_by("-last_seen_at")[:GROUPS_SHOWN]
    rows = ((str(group), group.streak_count, moment(group.last_seen_at)) for group in failing)
    return _table(("failing", "failures", "last seen"), rows)


def _table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    table = Table(*headings, box=None, pad_edge=False, expand=True, header_style="bold")
    for row in rows:
        # As texts: rich would obey the markup in a name.
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    return table
