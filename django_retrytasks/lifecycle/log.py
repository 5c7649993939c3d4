"""Log one line for each change of a Task's state."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django_retrytasks.models import Attempt, Status, Task

from .endings import Settled

logger = logging.getLogger("django_retrytasks")


def log_settled(settled: Settled) -> None:
    ending, task = settled.ending, settled.ending.task
    level, words = {
        Status.SUCCEEDED: (logging.INFO, "succeeded"),
        Status.FAILED: (logging.ERROR, "failed"),
        Status.RETRYING: (logging.WARNING, "will be retried"),
    }.get(ending.status, (logging.INFO, ending.status.lower()))
    if ending.outcome == Attempt.Outcome.SNOOZED:
        level, words = logging.INFO, "snoozed"
    log_transition(level, words, task, settled)


def log_all(level: int, words: str, tasks: Sequence[Task], decision: str = "") -> None:
    for task in tasks:
        log_transition(level, words, task, decision=decision)


def log_transition(
    level: int, words: str, task: Task, settled: Settled | None = None, *, decision: str = ""
) -> None:
    if not logger.isEnabledFor(level):
        return
    ending = settled.ending if settled else None
    extra = {
        "task_id": str(task.pk),
        "task_name": task.name,
        "attempt": settled.row["number"] if settled else task.attempt_count,
        "countdown": ending.decision.countdown if ending else None,
    }
    message = f"Task {words}: id=%(task_id)s name=%(task_name)s attempt=%(attempt)s"
    if ending and ending.error:
        extra |= {"exception": ending.error.class_path, "decision": ending.decision.reason}
        message += " exception=%(exception)s decision=%(decision)s"
    elif decision:
        extra |= {"decision": decision}
        message += " decision=%(decision)s"
    logger.log(level, message, extra, extra=extra)
