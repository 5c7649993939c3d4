"""``erase``: delete the Tasks of a person, and the traces that they left."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.management.frame import Lines, Report, Subcommand
from django_retrytasks.management.terminal import Progress, printable
from django_retrytasks.operators import erasing

WORDS = {
    "tasks": "Tasks",
    "attempts": "attempts",
    "failure_groups": "failure groups",
    "operations": "operations",
    "internal_tasks": "internal Tasks",
    "breakers": "breakers",
}


def _arguments(parser: CommandParser) -> None:
    text = "The search key of the Tasks, whole: the value of the argument that search_key names."
    parser.add_argument("--search", dest="key", metavar="KEY", required=True, help=text)
    text = "Only count what would be erased."
    parser.add_argument("--dry-run", action="store_true", help=text)
    text = "Cancel running Tasks first; without it the command refuses while one runs."
    parser.add_argument("--cancel", action="store_true", help=text)
    text = "Do not ask for confirmation."
    parser.add_argument("--no-input", "--noinput", dest="asks", action="store_false", help=text)


def _erase(key: str, dry_run: bool, cancel: bool, asks: bool, **options: Any) -> Lines:
    try:
        running = erasing.running(key)
        found = erasing.Traces(key, cancelled=cancel).count()
    except ValueError as error:
        raise CommandError(str(error)) from error
    count = running.count()
    if not found.total() + count:
        raise CommandError(f"nothing has the search key {key!r}: give it whole, as it was stored")
    refusal = f"running Tasks: {count}. Wait until they end, or give --cancel"
    wrong = refusal if count and not cancel else ""
    if dry_run:
        yield _report("would be erased", found, wrong)
        return
    if wrong:
        raise CommandError(wrong)
    if asks:
        _confirm(key)
    if cancel:
        erasing.cancel(running)
    traces, progress = erasing.Traces(key), Progress("Tasks erased")
    for count in traces.erase():
        yield from progress.note(count)
    yield _report("erased", traces.counts, _left(key))


def _confirm(key: str) -> None:
    """Ask for the key once more.

    Raises:
        CommandError: another answer, none (Ctrl-D, Ctrl-C), or nobody is there to answer.
    """
    if not sys.stdin.isatty():
        raise CommandError("nobody is there to confirm: give --no-input")
    tasks = erasing.tasks_of(key)
    question = (
        f"Tasks of {printable(key)} to erase for good: {tasks.count()}; "
        f"unfinished, which will not run: {tasks.unfinished().count()}.\n"
        "Type the key again to go on: "
    )
    try:
        answer = input(question)
    except (EOFError, KeyboardInterrupt) as error:
        raise CommandError("nothing was erased: there was no answer") from error
    if answer.strip() != key.strip():
        raise CommandError("nothing was erased: the answer was not the key")


def _left(key: str) -> str:
    """Return what is wrong if Tasks of the key are left, in words; "" if none is."""
    count = erasing.tasks_of(key).count()
    if not count:
        return ""
    return f"Tasks that began to run or were enqueued meanwhile: {count}. Erase again"


def _report(done: str, counts: Mapping[str, int], wrong: str = "") -> Report:
    values = {kind: counts[kind] for kind in WORDS}
    told = ", ".join(f"{WORDS[kind]} {count}" for kind, count in values.items())
    return Report(lines=[f"{done}: {told}"], values=values, wrong=wrong)


SUBCOMMANDS = (
    Subcommand(
        name="erase",
        help="Erase the Tasks of a search key, such as a person's address, with their attempts and "
        "the traces that they left in failure groups, operations, internal Tasks and breakers.",
        do=_erase,
        examples=(
            "erase --search ada@shop.example --dry-run",
            "erase --search ada@shop.example",
            "erase --search ada@shop.example --cancel --no-input",
        ),
        arguments=_arguments,
        lists=True,
    ),
)
