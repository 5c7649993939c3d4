"""``periodic``: the periodic Tasks, with their calendars and runs."""

from __future__ import annotations

from typing import Any

from django_retrytasks.database import DATABASE_NOW, DatabaseNow
from django_retrytasks.management.frame import Report, Subcommand, table
from django_retrytasks.models import PeriodicTask
from django_retrytasks.operators.wording import calendar_text, next_run_at

HEADINGS = {
    "state": "state",
    "name": "name",
    "calendar": "calendar",
    "next_run_at": "next run",
    "last_run_at": "last run",
    "last_status": "last Task",
    "task_name": "task",
}


def _periodic(**options: Any) -> Report:
    rows = PeriodicTask.objects.select_related("last_task").order_by("name")
    timed = rows.annotate(**{DATABASE_NOW: DatabaseNow()})
    return table(HEADINGS, list(map(_row, timed)), none="no periodic Task")


def _row(row: PeriodicTask) -> dict[str, Any]:
    shown = ("name", "task_name", "cron", "every", "last_run_at", "declared_at", "retired_at")
    switch = ("switched_off_at", "switched_off_by", "reason")
    return {
        "state": "retired" if row.retired_at else "off" if row.switched_off_at else "on",
        "calendar": calendar_text(row),
        "next_run_at": next_run_at(row),
        "last_task_id": str(row.last_task.pk) if row.last_task else None,
        "last_status": row.last_task.status if row.last_task else None,
        **{name: getattr(row, name) for name in (*shown, *switch)},
    }


SUBCOMMANDS = (
    Subcommand(
        name="periodic",
        help="List the periodic Tasks: calendar, next and last run, and what became of it.",
        do=_periodic,
        examples=("periodic", "periodic --json"),
        lists=True,
    ),
)
