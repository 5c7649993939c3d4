"""``failures`` and ``operations``: failure groups, and operations with their progress."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management import CommandParser

from django_retrytasks.management.frame import Report, Subcommand, table
from django_retrytasks.models import FailureGroup, Operation

HEADINGS = {
    "fingerprint": "fingerprint",
    "status": "status",
    "failure_count": "failures",
    "last_seen_at": "last seen",
    "what": "what",
}


def _failures(**options: Any) -> Report:
    groups = FailureGroup.objects.order_by("-last_seen_at")
    shown: Iterable[FailureGroup] = groups if options["all"] else groups.failing()
    return table(HEADINGS, list(map(_group, shown)), none="no failure group")


def _group(group: FailureGroup) -> dict[str, Any]:
    return {
        "fingerprint": str(group.pk),
        "status": group.status,
        "failure_count": group.failure_count,
        "failed_attempt_count": group.failed_attempt_count,
        "last_seen_at": group.last_seen_at,
        "name": group.name,
        "exception_class_path": group.exception_class_path,
        "what": str(group),
    }


def _failures_arguments(parser: CommandParser) -> None:
    text = "Add groups that have recovered, were resolved, or have only been retried so far."
    parser.add_argument("--all", action="store_true", help=text)


def _operations(**options: Any) -> Report:
    rows = list(Operation.objects.order_by("-started_at"))
    return Report(lines=map(_line, rows), values=list(map(_operation, rows)))


def _line(row: Operation) -> str:
    done = f"{row.done_count} of {row.matched_count} done, {row.skipped_count} skipped"
    because = f" ({row.stopped_because})" if row.stopped_because else ""
    return f"{row.pk}  {row.verb:<7}  {row.status:<7}  {done}{because}"


def _operation(row: Operation) -> dict[str, Any]:
    shown = ("verb", "status", "selection", "matched_count", "done_count", "skipped_count")
    ended = ("stopped_because", "started_by", "reason", "started_at", "finished_at")
    return {"id": str(row.pk), **{name: getattr(row, name) for name in (*shown, *ended)}}


SUBCOMMANDS = (
    Subcommand(
        name="failures",
        help="List the failing failure groups, the latest failure first.",
        do=_failures,
        examples=("failures", "failures --all --json"),
        arguments=_failures_arguments,
        lists=True,
    ),
    Subcommand(
        name="operations",
        help="List the operations and their progress, the latest first.",
        do=_operations,
        examples=("operations", "operations --json"),
        lists=True,
    ),
)
