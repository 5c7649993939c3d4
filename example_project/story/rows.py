"""What the Task and Attempt rows say, as lines to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django_retrytasks.models import Attempt, Status, Task

HEADINGS = ("message", "attempt", "exception", "retry_count", "status", "next step", "time")
Cells = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A Task with its Attempts in order of number."""

    task: Task
    attempts: Sequence[Attempt]


def read(ids: Sequence[str]) -> list[Record]:
    """Return the records of these Tasks, in the order in which they were enqueued."""
    # Attempts first: a Task read after them is never behind them.
    attempts = list(Attempt.objects.filter(task__in=ids).order_by("number"))
    tasks = Task.objects.filter(pk__in=ids).order_by("enqueued_at")
    return [
        Record(task=task, attempts=[a for a in attempts if a.task_id == task.pk]) for task in tasks
    ]


def past_lines(record: Record, start: datetime) -> list[Cells]:
    """Return the cells of HEADINGS for each Attempt; times are seconds since `start`."""
    return [past_line(record.task, attempt, start) for attempt in record.attempts]


def past_line(task: Task, attempt: Attempt, start: datetime) -> Cells:
    return (
        subject(task),
        str(attempt.number),
        exception_name(attempt),
        str(attempt.retry_count),
        status_after(task, attempt),
        attempt.decision,
        since(start, attempt.started_at),
    )


def coming_line(task: Task, start: datetime, now: datetime) -> Cells:
    """Return the cells for the attempt that an unfinished Task waits for or makes."""
    return (
        subject(task),
        str(task.attempt_count + 1),
        "",
        str(task.retry_count),
        task.get_status_display(),
        waiting_for(task, now),
        since(start, now),
    )


def waiting_for(task: Task, now: datetime) -> str:
    if task.status == Status.RUNNING or task.run_after is None:
        return "running"
    return f"starts in {max(0.0, (task.run_after - now).total_seconds()):.1f} s"


def status_after(task: Task, attempt: Attempt) -> str:
    follows = attempt.next_run_after is not None
    return str(Status.RETRYING.label if follows else task.get_status_display())


def exception_name(attempt: Attempt) -> str:
    return attempt.exception_class_path.rpartition(".")[2]


def subject(task: Task) -> str:
    return str(task.args[0]["subject"])


def since(start: datetime, moment: datetime) -> str:
    return f"{(moment - start).total_seconds():.1f} s"
