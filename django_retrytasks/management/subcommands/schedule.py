"""``schedule``: the retries of a task."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.errors.reports import class_path
from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.management.frame import Report, Subcommand
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.texts import number_text


def _arguments(parser: CommandParser) -> None:
    text = "Dotted path of the task, such as orders.tasks.send."
    parser.add_argument("path", help=text)


def _schedule(path: str, **options: Any) -> Report:
    try:
        policy = resolve(path).policy
    except RetryTasksError as error:
        raise CommandError(str(error)) from error
    lines = [f"{path}: {_summary(policy)}", *_table(policy), *_notes(policy)]
    return Report(lines=lines, values=_values(path, policy))


def _values(path: str, policy: RetryPolicy) -> dict[str, Any]:
    retries = [
        {"number": number, "least": least, "most": most}
        for number, least, most in policy.schedule()
    ]
    backoff = _path(policy.backoff) if callable(policy.backoff) else policy.backoff
    return {
        "name": path,
        "max_retries": policy.max_retries,
        "retry_for": policy.retry_for,
        "backoff": backoff,
        "retries": retries,
    }


def _summary(policy: RetryPolicy) -> str:
    match policy.max_retries:
        case None:
            return "retried for ever"
        case 0:
            return "never retried"
        case 1:
            return "1 retry at most"
    return f"{policy.max_retries} retries at most"


def _table(policy: RetryPolicy) -> Iterable[str]:
    schedule = policy.schedule()
    total = 0.0
    if schedule:
        yield f"{'retry':>5}  {'least':>10}  {'most':>10}  {'cumulative':>12}"
    for number, least, most in schedule:
        total += most
        least_text, most_text, total_text = map(number_text, (least, most, total))
        yield f"{number:>5}  {least_text:>10}  {most_text:>10}  {total_text:>12}"


def _notes(policy: RetryPolicy) -> Iterable[str]:
    shown = len(policy.schedule())
    if shown:
        yield "In seconds; cumulative is the most waited so far, run times left out."
    if shown and policy.max_retries != shown:
        yield f"The first {shown} retries are shown."
    if callable(policy.backoff) and policy.max_retries != 0:
        yield f"Each wait is decided by {_path(policy.backoff)} when the attempt has failed."
    if policy.retry_for is not None:
        longest = number_text(policy.retry_for)
        yield f"No retry begins later than {longest} s after the first start."


def _path(function: Any) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', class_path(type(function)))}"


SUBCOMMANDS = (
    Subcommand(
        name="schedule",
        help="Show the retries of a task: the shortest and the longest wait before each, in "
        "seconds.",
        do=_schedule,
        examples=("schedule orders.tasks.send",),
        arguments=_arguments,
        lists=True,
    ),
)
