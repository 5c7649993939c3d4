"""``sweep`` and ``prune``: the work that a cluster does each minute, done now."""

from __future__ import annotations

from collections.abc import Generator
from datetime import timedelta
from typing import Any

from django.core.management import CommandParser

from django_retrytasks import worker
from django_retrytasks.lifecycle import groups, pruning
from django_retrytasks.management.frame import Lines, Subcommand, table
from django_retrytasks.management.terminal import Note, Progress
from django_retrytasks.models import TaskQuerySet
from django_retrytasks.values.texts import span

HEADINGS = {"what": "what", "kept": "kept for"}


def _sweep(**options: Any) -> Lines:
    worker.sweep()
    return ["Swept."]


def _prune_arguments(parser: CommandParser) -> None:
    text = "Only count what would be deleted."
    parser.add_argument("--dry-run", action="store_true", help=text)


def _prune(dry_run: bool, **options: Any) -> Lines:
    """Count, or delete with notes about the progress; then report."""
    rows: list[dict[str, Any]] = []
    for old in pruning.old():
        count = old.tasks.count() if dry_run else (yield from _delete(old.tasks))
        what = f"{'internal ' if old.internal else ''}{old.status}"
        rows.append(_row(what, old.kept, count))
    if (kept := pruning.group_retention()) is not None:
        count = groups.prunable(kept).count() if dry_run else _prune_groups(kept)
        rows.append(_row("failure groups", kept, count))
    headings = {**HEADINGS, "count": "would be deleted" if dry_run else "deleted"}
    yield table(headings, rows, none="nothing")


def _delete(tasks: TaskQuerySet) -> Generator[Note, None, int]:
    count, progress = 0, Progress("Tasks deleted")
    for chunk in pruning.deleting(tasks):
        count += chunk
        yield from progress.note(count)
    return count


def _prune_groups(kept: timedelta) -> int:
    count = 0
    while chunk := groups.prune(kept):
        count += chunk
    return count


def _row(what: str, kept: timedelta, count: int) -> dict[str, Any]:
    seconds = kept.total_seconds()
    return {"what": what, "kept": span(seconds), "kept_seconds": seconds, "count": count}


SUBCOMMANDS = (
    Subcommand(
        name="sweep",
        help="Run the sweep now: write missing wake-ups, delete old finished Tasks, send alerts.",
        do=_sweep,
        examples=("sweep",),
    ),
    Subcommand(
        name="prune",
        help="Delete all finished Tasks and failure groups past their retention, in short "
        "transactions. The sweep does the same, a part each minute.",
        do=_prune,
        examples=("prune --dry-run", "prune --json"),
        arguments=_prune_arguments,
        lists=True,
    ),
)
