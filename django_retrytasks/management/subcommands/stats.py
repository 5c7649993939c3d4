"""``stats``: runs, failures and run times of each function."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.core.management import CommandParser

from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Report, Subcommand
from django_retrytasks.management.terminal import Note, moment, table
from django_retrytasks.operators import statistics
from django_retrytasks.operators.statistics import FunctionStats, Statistics
from django_retrytasks.values import moments

# Tasks that are read at most, of those that succeeded and of those that failed.
READ, MOST = 20_000, 100_000
HEADINGS = {
    "name": "function",
    "task_count": "tasks",
    "run_count": "runs",
    "failed": "failed",
    "mean_attempts": "mean attempts",
    "p50": "p50 s",
    "p95": "p95 s",
}


def _arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--since",
        type=arguments.since,
        default="24h",
        metavar="WHEN",
        help="Tasks that ended since then: 30m, 24h, 7d, or 2026-01-31T12:00. Default: 24h.",
    )
    what = "Tasks that are read of those that succeeded, and of those that failed"
    arguments.add_limit(parser, what, default=READ, most=MOST)


def _stats(since: datetime, limit: int, **options: Any) -> Report:
    read = statistics.read(moments.as_moment(since), limit)
    rows = list(map(_values, read.functions))
    values = {"since": read.since, "is_cut": read.is_cut, "functions": rows}
    return Report(lines=_lines(read, rows, limit), values=values)


def _values(of: FunctionStats) -> dict[str, Any]:
    names = ("name", "task_count", "failed_count", "run_count", "p50", "p95")
    derived = {"failed_share": of.failed_share, "mean_attempts": of.mean_attempts}
    return {**{name: getattr(of, name) for name in names}, **derived}


def _lines(read: Statistics, rows: list[dict[str, Any]], limit: int) -> Iterable[str]:
    yield f"ended since {moment(read.since)}"
    if read.is_cut:
        yield Note(
            f"More than {limit:,} Tasks succeeded, or failed, in the time asked for: this is the "
            "end of it. Give a larger --limit for more."
        )
    shown = [{**row, "failed": f"{row['failed_share']:.1%}".rjust(6)} for row in rows]
    yield from table(HEADINGS, shown)


SUBCOMMANDS = (
    Subcommand(
        name="stats",
        help="Show for each function the Tasks that succeeded or failed in a time: their runs, the "
        "share that failed, the mean number of attempts, and the run time of the last attempt that "
        "50 and 95 in 100 did not exceed.",
        do=_stats,
        examples=("stats", "stats --since 7d --limit 100000", "stats --since 1h --json"),
        arguments=_arguments,
        lists=True,
    ),
)
