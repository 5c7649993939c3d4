"""``pause``, ``resume`` and ``pauses``: let the due Tasks of a queue or a function wait."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.lifecycle import lanes, pauses
from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Lines, Report, Subcommand
from django_retrytasks.management.login import login
from django_retrytasks.management.names import refuse_unknown
from django_retrytasks.management.terminal import moment
from django_retrytasks.models import Pause
from django_retrytasks.values.checked import nearest


def _add_paused(parser: CommandParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--queue", metavar="NAME", default="", help="A queue's name.")
    what.add_argument("--task", metavar="PATH", default="", help="A function's dotted path.")


def _pause_arguments(parser: CommandParser) -> None:
    _add_paused(parser)
    arguments.add_reason(parser)
    text = "Accept an unknown queue or function, which will exist later."
    parser.add_argument("--force", action="store_true", help=text)


def _pause(queue: str, task: str, force: bool, reason: str, **options: Any) -> Lines:
    if not force:
        refuse_unknown(queue, task, "Give --force for a {kind} that will exist later.")
    try:
        done = pauses.pause(queue_name=queue, name=task, by=login(), reason=reason)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return [f"{queue or task} is paused" if done else f"{queue or task} was paused already"]


def _resume(queue: str, task: str, **options: Any) -> Lines:
    if not pauses.resume(queue_name=queue, name=task):
        raise CommandError(f"{queue or task} was not paused{_nearest_paused(queue, task)}")
    return [f"{queue or task} is resumed"]


def _nearest_paused(queue: str, task: str) -> str:
    paused = lanes.paused_now()
    known = paused.queue_names if queue else paused.names
    return f". {nearest(queue or task, sorted(known))}" if known else ""


def _pauses(**options: Any) -> Report:
    rows = list(Pause.objects.order_by("paused_at"))
    return Report(lines=map(_line, rows), values=list(map(_values, rows)))


def _line(row: Pause) -> str:
    kind = "queue" if row.queue_name else "task"
    about = ", ".join(text for text in (row.paused_by, row.reason) if text)
    since = f"{kind} {row}, since {moment(row.paused_at)}"
    return f"{since}: {about}" if about else since


def _values(row: Pause) -> dict[str, Any]:
    names = ("queue_name", "name", "paused_at", "paused_by", "reason")
    return {name: getattr(row, name) for name in names}


SUBCOMMANDS = (
    Subcommand(
        name="pause",
        help="Make the due Tasks of a queue or a function wait, without spending retries, until "
        "resume.",
        do=_pause,
        examples=(
            "pause --queue emails --reason 'server down'",
            "pause --task orders.tasks.send",
        ),
        arguments=_pause_arguments,
    ),
    Subcommand(
        name="resume",
        help="End the pause of a queue or a function.",
        do=_resume,
        examples=("resume --queue emails",),
        arguments=_add_paused,
    ),
    Subcommand(
        name="pauses",
        help="List the pauses: since when, by whom and why.",
        do=_pauses,
        examples=("pauses", "pauses --json"),
        lists=True,
    ),
)
