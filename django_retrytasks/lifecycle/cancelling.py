"""Cancelled runs: their Attempts, what their workers learn of the cancel, and their ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db.models import F

from django_retrytasks.database import DatabaseNow
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import Attempt, Task
from django_retrytasks.policy import StopReason

from .rows import DECISION_LIMIT, adopt, by_pk, store_attempts

# What the end of a cancelled run changes in its Attempt.
END = ("finished_at", "exception_class_path", "exception_message", "traceback", "decision")
# Ends the decision until then.
NOT_ENDED = "; its end is not known yet"


def note(by: str, reason: str) -> str:
    """Return who cancelled and why, such as "cancelled by anna: wrong file", in one line."""
    who, why = (f"{lead}{text}" if text else "" for lead, text in ((" by ", by), (": ", reason)))
    text = storable(" ".join(f"cancelled{who}{why}".split()), DECISION_LIMIT - len(NOT_ENDED))
    return " ".join(text.split())  # without the line ends around the mark of a cut


def record(running: Sequence[Task], values: Mapping[str, Any]) -> None:
    """Write the Attempts of cancelled runs, in the caller's transaction; their ends come later.

    Args:
        running: the Tasks as they were before.
        values: their new values.
    """
    cancelled = [
        {
            "task_id": task.pk,
            "number": task.attempt_count + 1,
            "outcome": Attempt.Outcome.CANCELLED,
            "retry_count": task.retry_count,
            "queued_at": task.queued_at,
            "started_at": task.last_attempted_at,
            "finished_at": DatabaseNow(),
            "worker": task.worker,
            "decision": values["stop_note"] + NOT_ENDED,
        }
        for task in running
    ]
    store_attempts(cancelled)
    by_pk(running).update(attempt_count=F("attempt_count") + 1)


def learn(task: Task) -> None:
    """Note on a running Task, whose claim does not hold any more, whether it was cancelled."""
    rows = by_pk([task]).filter(stop_reason=StopReason.CANCELLED)
    for stop_note in rows.values_list("stop_note", flat=True):
        adopt([task], {"stop_note": stop_note, "stop_reason": StopReason.CANCELLED})


def close(ended: Sequence[dict[str, Any]]) -> set[UUID]:
    """Write the ends of cancelled runs, in the caller's transaction; return their Tasks' ids.

    Args:
        ended: Attempts of refused endings, by their columns; those of other Tasks are left alone.
    """
    tasks = Task.objects.filter(pk__in=[row["task_id"] for row in ended])
    cancelled = tasks.filter(stop_reason=StopReason.CANCELLED)
    notes = dict(cancelled.values_list("pk", "stop_note"))
    for row in ended:
        if row["task_id"] in notes:
            decision = notes[row["task_id"]]
            _close({**row, "outcome": Attempt.Outcome.CANCELLED, "decision": decision})
    return set(notes)


def _close(row: dict[str, Any]) -> None:
    same = {name: row[name] for name in ("task_id", "number", "outcome", "worker")}
    if Attempt.objects.filter(**same).update(**{name: row[name] for name in END}):
        return
    # Cancelled before its start was known.
    tasks = Task.objects.filter(pk=row["task_id"], attempt_count=row["number"] - 1)
    if tasks.update(attempt_count=row["number"]):
        store_attempts([row])
