"""Name the running Task in each log line, by a filter for the site's ``LOGGING``."""

from __future__ import annotations

import logging
from contextvars import ContextVar
from typing import Any, NamedTuple


class About(NamedTuple):
    """What a log line is about: a Task's row, and the number of the attempt."""

    task: Any
    attempt: int


_about: ContextVar[About | None] = ContextVar("about", default=None)


def about(task: Any, attempt: int) -> None:
    """Name an attempt of a Task in the log lines of the current context from now on."""
    _about.set(About(task, attempt))


class TaskFilter(logging.Filter):
    """Give each log record ``task_id``, ``task_name`` and ``attempt``; it refuses none.

    Where no Task runs they are "-". A value that the record has already is kept: the lines of
    ``django_retrytasks`` are each about a Task of their own.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        known = vars(record)
        for name, value in _named(_about.get()).items():
            known.setdefault(name, value)
        return True


def _named(found: About | None) -> dict[str, Any]:
    if found is None:
        return {"task_id": "-", "task_name": "-", "attempt": "-"}
    task = found.task
    return {"task_id": str(task.pk), "task_name": task.name, "attempt": found.attempt}
