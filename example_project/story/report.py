"""What is shown in the end."""

import textwrap
from collections.abc import Sequence
from itertools import pairwise

from django.conf import settings

from django_retrytasks.models import Attempt, Task

from .rows import Cells, Record, exception_name, subject
from .screen import Screen
from .verdict import Evidence

HEADINGS = ("attempt", "exception", "retry_count when it runs", "next step")


def show(evidence: Evidence, faults: Sequence[str], screen: Screen) -> None:
    """Print the execution table from the rows, then a summary or what went wrong."""
    for record in evidence.records[:1]:
        screen.say(f"\nThe attempts of {subject(record.task)}, as the database has them:\n")
        screen.table(HEADINGS, [execution_line(record.task, each) for each in record.attempts])
    screen.say("")
    for line in [f"Not as it was meant: {fault}" for fault in faults] or [summary(evidence)]:
        screen.say(line)


def execution_line(task: Task, attempt: Attempt) -> Cells:
    return (
        str(attempt.number),
        exception_name(attempt),
        str(attempt.retry_count),
        next_step(task, attempt),
    )


def next_step(task: Task, attempt: Attempt) -> str:
    if attempt.next_run_after:
        wait = attempt.next_run_after - attempt.finished_at
        return f"retry after {round(wait.total_seconds(), 1):g} s"
    return f"{task.get_stop_reason_display()}: {task.status}, log and alert"


def summary(evidence: Evidence) -> str:
    """Say in one paragraph what happened; only for evidence without faults."""
    failed, greylisted, healthy = (subject(record.task) for record in evidence.records)
    late = lateness(evidence.records)
    alert = next(each for each in evidence.letters if settings.ADMIN_EMAIL in each.recipients)
    text = (
        f"{failed} met a mail server that refused the connection, then stayed silent, then twice "
        f"answered with an error; it was given up, logged, and announced: the alert "
        f"{alert.subject!r} arrived at {settings.ADMIN_EMAIL}. {greylisted} got through at its "
        f"third attempt, {healthy} at once. Retries started {min(late):.2f} to {max(late):.2f} s "
        f"after their run_after, none before it."
    )
    return textwrap.fill(text, 78)


def lateness(records: Sequence[Record]) -> list[float]:
    """Return, for each retry, the seconds from its run_after to its start."""
    return [
        (later.started_at - earlier.next_run_after).total_seconds()
        for record in records
        for earlier, later in pairwise(record.attempts)
        if earlier.next_run_after
    ]
