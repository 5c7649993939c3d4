"""Alerts: callables ``(task, attempt)`` that tell a human of a final failure."""

from __future__ import annotations

from django.core import mail

from .models import Attempt, Task


def mail_admins(task: Task, attempt: Attempt) -> None:
    """Mail ``ADMINS`` what failed, why, and after how many attempts."""
    mail.mail_admins(subject(task, attempt), _body(task, attempt))


def subject(task: Task, attempt: Attempt) -> str:
    """Return an alert's one-line summary."""
    error = attempt.exception_class_path.rpartition(".")[2]
    return f"{task.name} failed after {attempt.number} attempts: {error}"


def _body(task: Task, attempt: Attempt) -> str:
    lines = (
        f"Task:      {task.name}",
        f"Id:        {task.pk}",
        f"Queue:     {task.queue_name}",
        f"Attempts:  {attempt.number}",
        f"Failed at: {attempt.finished_at:%Y-%m-%d %H:%M:%S %Z}",
        f"Worker:    {attempt.worker}",
        f"Stopped:   {task.get_stop_reason_display()}: {attempt.decision}",
        f"Exception: {attempt.exception_class_path}: {attempt.exception_message}",
        "",
        attempt.traceback,
    )
    return "\n".join(lines)
