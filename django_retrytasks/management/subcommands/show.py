"""``show``: one Task, and its attempts in order of time."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.database import DATABASE_NOW, DatabaseNow
from django_retrytasks.errors.reports import storable
from django_retrytasks.management.arguments import uuid_of
from django_retrytasks.management.frame import Report, Subcommand
from django_retrytasks.management.terminal import moment, spaced
from django_retrytasks.models import Attempt, FailureGroup, Operation, Status, Task
from django_retrytasks.models.fields import Unreadable
from django_retrytasks.operators import wording
from django_retrytasks.tasks import redaction
from django_retrytasks.values import codec
from django_retrytasks.values.progress import Progress
from django_retrytasks.values.texts import error_text, number_text

# The latest attempts that are read, and the bytes of a value without --full.
ATTEMPTS_SHOWN = 50
VALUE_LIMIT = 500
BAR_WIDTH = 20
# Columns that JSON leaves out, or shows without secrets.
LEFT_OUT = {
    "args",
    "kwargs",
    "return_value",
    "claim_token",
    "unique_key",
    "held_key",
    "wakeup_id",
    "task_id",
}
OTHERS: Mapping[Any, str] = {
    FailureGroup: "It is the fingerprint of a failure group: give list --group {pk}.",
    Operation: "It is the id of an operation: give operations.",
}


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("id", type=uuid_of, help="Id of a Task, as in the log.")
    text = "Whole arguments and return value, and the traceback of each attempt."
    parser.add_argument("--full", action="store_true", help=text)


def _show(id: uuid.UUID, full: bool, **options: Any) -> Report:
    rows = Task.objects.annotate(**{DATABASE_NOW: DatabaseNow()})
    task = rows.filter(pk=id).first()
    if task is None:
        raise CommandError(f"there is no Task {id}. {_what_is(id)}".rstrip())
    latest = Attempt.objects.filter(task=task).order_by("-number")[:ATTEMPTS_SHOWN]
    attempts = list(latest)[::-1]
    return Report(lines=_lines(task, attempts, full), values=_values(task, attempts))


def _what_is(pk: uuid.UUID) -> str:
    found = (text for model, text in OTHERS.items() if model.objects.filter(pk=pk).exists())
    return next(found, "Finished Tasks are deleted after their RETENTION.").format(pk=pk)


def _lines(task: Task, attempts: list[Attempt], full: bool) -> Iterable[str]:
    yield f"{task.name}  {task.pk}"
    yield f"{task.status}: {spaced(wording.headline(task, attempts[-1] if attempts else None))}"
    yield from _facts(task, full)
    if left_out := task.attempt_count - len(attempts):
        yield f"attempts 1 to {left_out} are left out"
    for attempt in attempts:
        yield ""
        yield from _attempt_lines(attempt, full)


def _facts(task: Task, full: bool) -> Iterable[str]:
    yield f"queue {task.queue_name}, priority {task.priority}, backend {task.backend}"
    yield f"enqueued {moment(task.enqueued_at)}" + (", internal" if task.internal else "")
    if task.search_key:
        yield f"search key: {task.search_key}"
    if task.unique_key:
        yield "unique, and " + ("holds its key" if task.held_key else "its key is free")
    most = "no limit" if task.max_retries is None else f"at most {task.max_retries}"
    timeout = "" if task.timeout is None else f"; timeout {number_text(task.timeout)} s"
    yield f"retries: {task.retry_count} spent, {most}{timeout}"
    if task.failure_group_id:
        yield f"failure group: {task.failure_group_id}"
    if (progress := Progress.read(task.progress)) and task.status != Status.SUCCEEDED:
        yield f"progress: {_bar(progress)}{wording.progress_text(progress)}"
    limit = None if full else VALUE_LIMIT
    for name, value in redaction.shown_arguments(task).items():
        yield f"argument {name}: {_written(value, limit)}"
    if task.status == Status.SUCCEEDED:
        yield f"returned: {_written(task.return_value, limit)}"


def _bar(progress: Progress) -> str:
    """Return a bar of the share that is done, such as "[#####...............] "; "" without one."""
    if progress.share is None:
        return ""
    done = round(BAR_WIDTH * progress.share)
    return f"[{'#' * done}{'.' * (BAR_WIDTH - done)}] "


def _attempt_lines(attempt: Attempt, full: bool) -> Iterable[str]:
    waited, ran = _seconds(attempt)
    yield f"attempt {attempt.number}  {attempt.outcome} after {wording.run_time(ran)}"
    waits = wording.run_time(waited)
    yield f"  started {moment(attempt.started_at)} on {attempt.worker}, waited {waits}"
    error = error_text(attempt.exception_class_path, attempt.exception_message)
    yield from (f"  {line}" for line in error.splitlines())
    next_at = attempt.next_run_after
    not_before = f", not before {moment(next_at)}" if next_at else ""
    yield f"  decision: {attempt.decision}{not_before}"
    if full:
        yield from (f"    {line}" for line in attempt.traceback.splitlines())


def _seconds(attempt: Attempt) -> tuple[float, float]:
    """Return how long it waited and ran; a clock that was set back counts as 0."""
    waited = (attempt.started_at - attempt.queued_at).total_seconds()
    ran = (attempt.finished_at - attempt.started_at).total_seconds()
    return max(0.0, waited), max(0.0, ran)


def _written(value: Any, limit: int | None) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False)
    return text if limit is None else storable(text, limit)


def _plain(value: Any) -> Any:
    """Return a stored value in JSON's types, with the codec's tags for what JSON lacks."""
    if isinstance(value, Unreadable):
        return f"unreadable, {len(value.text)} characters"
    return json.loads(codec.dumps(value, root=()))


def _values(task: Task, attempts: list[Attempt]) -> Mapping[str, Any]:
    shown = redaction.shown_arguments(task)
    return {
        **_columns(task),
        "holds_unique_key": task.held_key is not None,
        "arguments": {name: _plain(value) for name, value in shown.items()},
        "return_value": _plain(task.return_value),
        "attempts": list(map(_attempt_values, attempts)),
    }


def _attempt_values(attempt: Attempt) -> Mapping[str, Any]:
    waited, ran = _seconds(attempt)
    return {**_columns(attempt), "waited_seconds": waited, "run_seconds": ran}


def _columns(row: Task | Attempt) -> dict[str, Any]:
    names = (field.attname for field in row._meta.concrete_fields)
    return {name: getattr(row, name) for name in names if name not in LEFT_OUT}


SUBCOMMANDS = (
    Subcommand(
        name="show",
        help="Show one Task: its state, its arguments without secrets, and each attempt in order "
        "of time, with its outcome, its exception and what was decided next.",
        do=_show,
        examples=(
            "show 01a20694-32d3-76d4-881f-2aeadd356400",
            "show 01a20694-32d3-76d4-881f-2aeadd356400 --full",
        ),
        arguments=_arguments,
        lists=True,
    ),
)
