"""The arguments of ``manage.py retrytasks``, and their parsers."""

from __future__ import annotations

import math
import uuid
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Collection
from datetime import datetime, timedelta
from functools import partial

from django.core.management.base import CommandParser
from django.utils import timezone

from django_retrytasks.broker import clusters
from django_retrytasks.values.texts import number_text

# Conditions of a selection, by their names in selections.py: option, metavar and help.
SELECTED = {
    "failure_group": ("--group", "FINGERPRINT", "Tasks whose latest failure has this cause."),
    "name": ("--task", "PATH", "Tasks of this function."),
    "queue_name": ("--queue", "NAME", "Tasks of this queue."),
    "search": ("--search", "WORDS", "Tasks with this id, key, function or error."),
    "error": ("--error", "CLASS", "Tasks whose latest failure has this class, a dotted path."),
    "status": ("--status", "STATUS", "Tasks of this status."),
}

# A cluster takes some seconds to start, and must not count as frozen meanwhile.
LEAST_STALL = 5


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


def uuid_of(text: str) -> uuid.UUID:
    """Return the id in a text."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id: give a UUID") from None


def seconds(text: str, *, least: float = 0) -> float:
    """Return the seconds in a text, ``least`` or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ArgumentTypeError(
            f"{text!r} is no duration: give seconds, {number_text(least)} or more"
        )
    return value


def until(text: str) -> datetime:
    """Return the time so many seconds from now."""
    return timezone.now() + timedelta(seconds=seconds(text))


def add_ids(parser: CommandParser, which: str, *, takes_until: bool) -> None:
    """Add ids, and the option for the end of a mute."""
    parser.add_argument("ids", nargs="+", type=uuid_of, metavar="id", help=which)
    if takes_until:
        text = "Seconds until the groups alert again. Default: until reopened."
        parser.add_argument("--for", dest="until", type=until, metavar="SECONDS", help=text)


def add_verb_arguments(parser: CommandParser, asks: Collection[str]) -> None:
    """Add ids, the conditions of a selection, and a verb's inputs."""
    text = "Id of a Task, as in the log."
    parser.add_argument("ids", nargs="*", type=uuid_of, metavar="id", help=text)
    for key, (option, metavar, text) in SELECTED.items():
        parser.add_argument(option, dest=key, metavar=metavar, help=text)
    text = "Only print the number of Tasks; at most 100,000 are counted."
    parser.add_argument("--dry-run", action="store_true", help=text)
    text = "The most Tasks a minute. Default: no limit."
    parser.add_argument("--per-minute", type=int, metavar="COUNT", help=text)
    if "canary" in asks:
        text = "Tasks to run first; the others follow only if all of these succeed. Default: 0."
        parser.add_argument("--canary", type=int, default=0, metavar="COUNT", help=text)
    if "countdown" in asks:
        text = "Seconds from now until the Tasks are due."
        parser.add_argument(
            "--for", dest="countdown", type=seconds, metavar="SECONDS", required=True, help=text
        )
    add_reason(parser)


def add_reason(parser: CommandParser) -> None:
    """Add a reason."""
    parser.add_argument("--reason", default="", help="The reason, for other people.")


def add_paused(parser: CommandParser) -> None:
    """Add the queue or function to pause or resume."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--queue", metavar="NAME", default="", help="A queue's name.")
    what.add_argument("--task", metavar="PATH", default="", help="A function's dotted path.")


def add_pause_arguments(parser: CommandParser) -> None:
    """Add the queue or function to pause, and a reason."""
    add_paused(parser)
    add_reason(parser)
    text = "Accept an unknown queue or function, which will exist later."
    parser.add_argument("--force", action="store_true", help=text)


def add_health_arguments(parser: CommandParser) -> None:
    """Add the limit of the lag, and the format of the report."""
    parser.add_argument(
        "--max-lag",
        type=seconds,
        default=120.0,
        metavar="SECONDS",
        help="The longest time for which a Task may have been due. Default: 120.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def add_cluster_arguments(parser: CommandParser) -> None:
    """Add the name of a cluster, and the supervisor's time limits."""
    keys = clusters.keys()
    parser.add_argument(
        "--name",
        choices=keys,
        metavar="NAME",
        help=f"Cluster to run: {', '.join(keys)}. Default: that of a plain qcluster.",
    )
    parser.add_argument(
        "--max-stall",
        type=partial(seconds, least=LEAST_STALL),
        default=60.0,
        metavar="SECONDS",
        help="Seconds for which Tasks may be due, and workers idle, before the cluster is "
        f"replaced; at least {LEAST_STALL}. Default: 60.",
    )
    parser.add_argument(
        "--grace",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="Seconds for running Tasks to end when the cluster stops. Default: 60.",
    )
