"""The columns of listed Tasks that no field holds: last error, last end, arguments in a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from django.db.models import Case, F, OuterRef, When
from django.db.models.functions import Length
from django.utils.text import Truncator
from django.utils.translation import gettext

from django_retrytasks.database.seeks import first
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import Attempt, Task
from django_retrytasks.tasks import redaction

# Deferred where many Tasks are read: a single value may take a megabyte.
BIG = ("args", "kwargs", "options", "return_value")
LAST_ERROR = "last_error_path"
LAST_FINISHED = "last_attempt_finished_at"
PREVIEW = "arguments_preview"
# Most characters of arguments that are read, and of their preview.
ARGUMENTS_READ = 4000
PREVIEW_WIDTH = 80


def read(tasks: Sequence[Task]) -> None:
    """Set the additional columns of each Task, read for all rows by one query."""
    attempts = Attempt.objects.filter(task=OuterRef("pk"))
    errors = attempts.exclude(exception_class_path="").order_by("-number")
    last = attempts.filter(number=OuterRef("attempt_count"))
    rows = Task.objects.filter(pk__in=[task.pk for task in tasks])
    columns = rows.alias(size=Length(F("args")) + Length(F("kwargs"))).values_list(
        "pk",
        first(errors, "exception_class_path"),
        first(last, "finished_at"),
        Case(When(size__lte=ARGUMENTS_READ, then=F("args"))),
        Case(When(size__lte=ARGUMENTS_READ, then=F("kwargs"))),
    )
    by_pk = {pk: values for pk, *values in columns}
    for task in tasks:
        error, finished_at, args, kwargs = by_pk.get(task.pk, (None, None, None, None))
        setattr(task, LAST_ERROR, error or "")
        setattr(task, LAST_FINISHED, finished_at)
        setattr(task, PREVIEW, _preview(task, args, kwargs))


def _preview(task: Task, args: Any, kwargs: Any) -> str:
    """Return a Task's redacted arguments in a line; long arguments are not read."""
    if args is None or kwargs is None:
        return gettext("too long: see its page")
    task.args, task.kwargs = args, kwargs
    arguments = redaction.shown_arguments(task).items()
    line = ", ".join(f"{name}={_written(value)}" for name, value in arguments)
    return Truncator(storable(line, 2 * ARGUMENTS_READ)).chars(PREVIEW_WIDTH)


def _written(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)
