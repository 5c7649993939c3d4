"""The arguments that subcommands share, and the parsers of their values."""

from __future__ import annotations

import math
import re
import uuid
from argparse import SUPPRESS, ArgumentTypeError, RawDescriptionHelpFormatter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import CommandParser, DjangoHelpFormatter
from django.utils import timezone

from django_retrytasks.values.checked import as_datetime
from django_retrytasks.values.texts import number_text

UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
SPAN = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?) ?(?P<unit>[smhdw]?)")


class HelpFormatter(DjangoHelpFormatter, RawDescriptionHelpFormatter):
    """Django's, which leaves the lines of examples as they are."""


def django_options() -> CommandParser:
    """Return a parser of Django's own options, so that they may follow a subcommand.

    Without defaults, so that it does not override options before the subcommand.
    """
    options = CommandParser(add_help=False)
    group = options.add_argument_group("options of every Django command")
    group.add_argument("-v", "--verbosity", type=int, choices=[0, 1, 2, 3], default=SUPPRESS)
    for name in ("--settings", "--pythonpath"):
        group.add_argument(name, default=SUPPRESS)
    for name in ("--traceback", "--no-color", "--force-color", "--skip-checks"):
        group.add_argument(name, action="store_true", default=SUPPRESS)
    return options


def text(given: str) -> str:
    """Return a text; refuse bytes of a command line that are no UTF-8: no database stores them."""
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ArgumentTypeError(f"{given!r} is no text: give UTF-8") from None
    return given


def check_texts(parser: CommandParser) -> None:
    """Check the values of all arguments that have no type of their own."""
    for action in parser._actions:
        action.type = action.type or text


def uuid_of(text: str) -> uuid.UUID:
    """Return the id in a text."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id: give a UUID") from None


def seconds(text: str, *, least: float = 0) -> float:
    """Return the seconds in a text such as "90", "1.5h" or "7d"; ``least`` or more."""
    found = SPAN.fullmatch(text.strip())
    value = float(found["number"]) * UNITS[found["unit"]] if found else math.nan
    if not least <= value <= timedelta.max.total_seconds() / 1000:
        lowest = number_text(least)
        raise ArgumentTypeError(
            f"{text!r} is no duration: give seconds, {lowest} or more, or such as 30m, 24h, 7d"
        )
    return value


def count(text: str, *, most: int) -> int:
    """Return the whole number in a text, from 1 to ``most``."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:12]) <= most):
        raise ArgumentTypeError(f"{text!r} is no count: give a whole number from 1 to {most}")
    return int(text)


def until(text: str) -> datetime:
    """Return the time so many seconds from now."""
    return timezone.now() + timedelta(seconds=seconds(text))


def since(text: str) -> datetime:
    """Return the moment in a text: so long ago, such as "24h", or such as 2026-01-31T12:00."""
    try:
        at = _moment(text)
    except (ValueError, OverflowError):
        raise ArgumentTypeError(
            f"{text!r} is no time: give such as 30m, 24h, 7d, or 2026-01-31T12:00"
        ) from None
    try:
        as_datetime("the time", at)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from None
    return at if at.tzinfo else timezone.make_aware(at)


def _moment(text: str) -> datetime:
    try:
        ago = timedelta(seconds=seconds(text))
    except ArgumentTypeError:
        return datetime.fromisoformat(text)
    return datetime.now(UTC) - ago


def since_text(text: str) -> str:
    """Return :func:`since` as a selection holds it."""
    return since(text).isoformat()


# Conditions of a selection, by their names in selections.py: the option, and how it is parsed.
SELECTED: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "status": (
        "--status",
        {"metavar": "STATUS", "type": str.upper, "help": "Tasks of this status."},
    ),
    "name": ("--task", {"metavar": "PATH", "help": "Tasks of this function."}),
    "queue_name": ("--queue", {"metavar": "NAME", "help": "Tasks of this queue."}),
    "failure_group": (
        "--group",
        {"metavar": "FINGERPRINT", "help": "Tasks whose latest failure has this cause."},
    ),
    "error": (
        "--error",
        {
            "metavar": "CLASS",
            "help": "Tasks whose latest failure has this class, a dotted path.",
        },
    ),
    "search": (
        "--search",
        {"metavar": "WORDS", "help": "Tasks with this id, search key, function or error."},
    ),
    "since": (
        "--since",
        {
            "metavar": "WHEN",
            "type": since_text,
            "help": "Tasks enqueued since then: 30m, 24h, 7d, or 2026-01-31T12:00.",
        },
    ),
    "retried": (
        "--retried",
        {"choices": ("yes", "no"), "help": "yes: Tasks with more than one attempt."},
    ),
    "stuck": (
        "--stuck",
        {
            "action": "store_const",
            "const": "yes",
            "help": "Tasks that have been due for more than 5 minutes.",
        },
    ),
    "internal": (
        "--internal",
        {"choices": ("no", "yes", "all"), "help": "Internal Tasks: without, only, or all."},
    ),
}


def add_selection(parser: CommandParser) -> None:
    """Add the conditions of a selection."""
    for key, (option, how) in SELECTED.items():
        parser.add_argument(option, dest=key, **how)


def selection_of(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the selection in the options."""
    return {key: options[key] for key in SELECTED if options[key] is not None}


def add_ids(parser: CommandParser, text: str) -> None:
    """Add ids."""
    parser.add_argument("ids", nargs="+", type=uuid_of, metavar="id", help=text)


def add_reason(parser: CommandParser) -> None:
    """Add a reason."""
    parser.add_argument("--reason", default="", help="The reason, for other people.")


def add_limit(parser: CommandParser, what: str, *, default: int, most: int) -> None:
    """Add the number of rows to print at most."""
    text = f"The most {what}, up to {most}. Default: {default}."
    limit = partial(count, most=most)
    parser.add_argument("--limit", type=limit, default=default, metavar="COUNT", help=text)
