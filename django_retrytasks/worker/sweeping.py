"""The functions that django-q2's Schedules call: the sweep, and an enqueue by dotted path."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from typing import Any

from django.db import Error

from django_retrytasks import lifecycle
from django_retrytasks.alerts.sending import review
from django_retrytasks.tasks import periodic
from django_retrytasks.tasks.stored import resolve

logger = logging.getLogger("django_retrytasks")


def sweep() -> None:
    """Sync periodic Tasks, run the sweep, and review the alerts, each even if another fails."""
    with ExitStack() as after:
        after.callback(review)
        after.callback(lifecycle.sweep)
        periodic.sync()


def enqueue(path: str | None = None, /, *args: Any, **kwargs: Any) -> str:
    """Enqueue the task at a dotted path; for Schedules made by hand in django-q2's admin.

    A call that cannot be enqueued is logged as an error and not raised, since django-q2 would
    repeat it for ever. An error of the database is raised, so that django-q2 repeats the call.

    Args:
        path: the dotted path of a task, such as "shop.tasks.send_report"; None is an error.
        args: the task's positional arguments.
        kwargs: the task's keyword arguments.

    Returns the id of the Task, or the error in words.
    """
    try:
        if path is None:
            raise TypeError("its Arguments do not begin with the dotted path of a task")
        return str(resolve(path).enqueue(*args, **kwargs).id)
    except Error:
        raise
    except Exception as error:
        logger.error("A Schedule cannot enqueue %r: %s", path, error)
        return f"not enqueued: {error}"
