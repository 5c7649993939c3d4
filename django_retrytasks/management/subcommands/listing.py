"""``list``: the Tasks of a selection, as in the admin's list."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.database import DATABASE_NOW, DatabaseNow
from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Report, Subcommand
from django_retrytasks.management.names import refuse_unknown
from django_retrytasks.management.terminal import Note, spaced, table
from django_retrytasks.models import Task
from django_retrytasks.operators import columns, selections, wording

DEFAULT_LIMIT, MOST = 25, 10_000
FIELDS = (
    *("name", "status", "stop_reason", "queue_name", "priority", "search_key", "internal"),
    *("attempt_count", "retry_count", "max_retries", "worker"),
    *("enqueued_at", "run_after", "started_at", "last_attempted_at", "finished_at"),
)
HEADINGS = {
    "id": "id",
    "status": "status",
    "attempts": "attempts",
    "when": "when",
    "queue_name": "queue",
    "name": "function",
    "last_error": "last error",
    "arguments": "arguments",
}


def _arguments(parser: CommandParser) -> None:
    arguments.add_selection(parser)
    arguments.add_limit(parser, "Tasks", default=DEFAULT_LIMIT, most=MOST)


def _list(limit: int, **options: Any) -> Report:
    tasks = _read(arguments.selection_of(options), limit + 1)
    shown = tasks[:limit]
    columns.read(shown)
    is_cut = len(tasks) > limit
    return Report(lines=_lines(shown, is_cut), values=list(map(_values, shown)))


def _read(selection: selections.Selection, limit: int) -> list[Task]:
    refuse_unknown(selection.get("queue_name"), selection.get("name"))
    try:
        rows = selections.select(Task.objects.all(), selection)
    except ValueError as error:
        raise CommandError(str(error)) from error
    order = selections.LATEST_ENDED if selections.have_ended(selection) else ("-pk",)
    now = {DATABASE_NOW: DatabaseNow()}
    return list(rows.defer(*columns.BIG).annotate(**now).order_by(*order)[:limit])


def _lines(tasks: list[Task], is_cut: bool) -> Iterable[str]:
    if not tasks:
        yield "no Task"
        return
    rows = [{**_values(task), **_words(task)} for task in tasks]
    yield from table(HEADINGS, rows)
    if is_cut:
        yield Note(f"There are more than these {len(tasks)}: give --limit, or select fewer.")


def _words(task: Task) -> dict[str, str]:
    phase = wording.phase_of(task)
    when = phase.short % {"span": wording.span_of(task, phase)}
    return {"attempts": wording.attempts_used(task), "when": spaced(when)}


def _values(task: Task) -> dict[str, Any]:
    fields = {name: getattr(task, name) for name in FIELDS}
    error, preview = getattr(task, columns.LAST_ERROR), getattr(task, columns.PREVIEW)
    return {"id": str(task.pk), **fields, "last_error": error, "arguments": preview}


SUBCOMMANDS = (
    Subcommand(
        name="list",
        help="List Tasks, the latest first: all, or those of a selection.",
        do=_list,
        examples=(
            "list",
            "list --status FAILED --since 24h --limit 100",
            "list --search 'key: ada@shop.example'",
            "list --task orders.tasks.send --retried yes --json",
        ),
        arguments=_arguments,
        lists=True,
    ),
)
