"""The arguments of ``manage.py retrytasks``, and how their texts are read."""

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

from .listings import seconds_text

# What selects Tasks, as selections.py calls it, and what it asks for.
SELECTED = {
    "failure_group": ("--group", "FINGERPRINT", "Those that failed last by this cause."),
    "name": ("--task", "PATH", "Those of this function."),
    "queue_name": ("--queue", "NAME", "Those of this queue."),
    "search": ("--search", "WORDS", "Those found by an id, a key, a function or an error."),
    "error": ("--error", "CLASS", "Those whose last failure was of this class, a dotted path."),
    "status": ("--status", "STATUS", "Those of this status."),
}

# A cluster takes some seconds to start, and must not be taken for frozen meanwhile.
LEAST_STALL = 5


def django_options() -> CommandParser:
    """Return a parser of Django's own options, for a subcommand to take them too.

    Without defaults: those given before the subcommand hold.
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
    """Return the id that a text spells."""
    try:
        return uuid.UUID(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no id: give a UUID, as it was shown") from None


def seconds(text: str, *, least: float = 0) -> float:
    """Return the seconds that a text spells, ``least`` or more."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value < math.inf:
        raise ArgumentTypeError(
            f"{text!r} is no duration: give seconds, {seconds_text(least)} or more"
        )
    return value


def until(text: str) -> datetime:
    """Return the moment that is so many seconds from now."""
    return timezone.now() + timedelta(seconds=seconds(text))


def add_path(parser: CommandParser) -> None:
    """Add which task."""
    parser.add_argument("path", help="Dotted path of the task, such as orders.tasks.send.")


def add_all(parser: CommandParser) -> None:
    """Add whether all failure groups are listed."""
    parser.add_argument("--all", action="store_true", help="Those that are over as well.")


def add_ids(parser: CommandParser, which: str, *, takes_until: bool) -> None:
    """Add the ids of what is changed, and until when, if that is to be asked."""
    parser.add_argument("ids", nargs="+", type=uuid_of, metavar="id", help=which)
    if takes_until:
        text = "Until so many seconds from now. Default: until reopened."
        parser.add_argument("--for", dest="until", type=until, metavar="SECONDS", help=text)


def add_verb_arguments(parser: CommandParser, asks: Collection[str]) -> None:
    """Add ids and what selects Tasks, and what an operator's verb asks for."""
    text = "Id of a Task, as logs show it."
    parser.add_argument("ids", nargs="*", type=uuid_of, metavar="id", help=text)
    for key, (option, metavar, text) in SELECTED.items():
        parser.add_argument(option, dest=key, metavar=metavar, help=text)
    text = "Only tell how many there are; at most 100,000 are counted."
    parser.add_argument("--dry-run", action="store_true", help=text)
    text = "How many a minute at most. Default: no limit."
    parser.add_argument("--per-minute", type=int, metavar="COUNT", help=text)
    if "canary" in asks:
        text = "How many to run first; the others only if all of these succeed. Default: 0."
        parser.add_argument("--canary", type=int, default=0, metavar="COUNT", help=text)
    if "countdown" in asks:
        text = "How many seconds from now they are due."
        parser.add_argument(
            "--for", dest="countdown", type=seconds, metavar="SECONDS", required=True, help=text
        )
    add_reason(parser)


def add_reason(parser: CommandParser) -> None:
    """Add a reason."""
    parser.add_argument("--reason", default="", help="Why, for others to read.")


def add_paused(parser: CommandParser) -> None:
    """Add what is paused or resumed: a queue or a function."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--queue", metavar="NAME", default="", help="A queue's name.")
    what.add_argument("--task", metavar="PATH", default="", help="A function's dotted path.")


def add_pause_arguments(parser: CommandParser) -> None:
    """Add what is paused, and why."""
    add_paused(parser)
    add_reason(parser)
    text = "Pause a queue or a function that is not known yet, too."
    parser.add_argument("--force", action="store_true", help=text)


def add_health_arguments(parser: CommandParser) -> None:
    """Add when a Task is late, and the form of the report."""
    parser.add_argument(
        "--max-lag",
        type=seconds,
        default=120.0,
        metavar="SECONDS",
        help="Seconds for which a Task may have been due. Default: 120.",
    )
    parser.add_argument("--json", action="store_true", help="Print JSON.")


def add_cluster_arguments(parser: CommandParser) -> None:
    """Add which cluster is run, and how patiently."""
    keys = clusters.keys()
    parser.add_argument(
        "--name",
        choices=keys,
        metavar="NAME",
        help=f"Cluster to run: {', '.join(keys)}. Default: what qcluster itself would run.",
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
        help="Seconds that running Tasks are given to end when it stops. Default: 60.",
    )
