"""``breakers``: list the open breakers, open and close them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.management import CommandError, CommandParser

from django_retrytasks.management import arguments
from django_retrytasks.management.frame import Lines, Report, Subcommand
from django_retrytasks.management.login import login
from django_retrytasks.management.terminal import moment
from django_retrytasks.models import OpenBreaker
from django_retrytasks.operators import breakers
from django_retrytasks.values.checked import nearest

Change = Callable[[str, str, str], Lines]


def _arguments(parser: CommandParser) -> None:
    parser.add_argument("act", nargs="?", choices=CHANGES, help="Default: list them.")
    parser.add_argument("path", nargs="?", default="", help="A function's dotted path.")
    text = "The value that the breaker is for, where a function has one for each."
    parser.add_argument("--key", default="", help=text)
    arguments.add_reason(parser)


def _breakers(act: str | None, path: str, key: str, reason: str, **options: Any) -> Lines | Report:
    if act is None:
        rows = list(OpenBreaker.objects.order_by("opened_at"))
        return Report(lines=map(_line, rows), values=list(map(_values, rows)))
    if not path:
        raise CommandError(f"breakers {act} needs the dotted path of a function", returncode=2)
    return CHANGES[act](path, key, reason)


def _open(path: str, key: str, reason: str) -> Lines:
    try:
        done = breakers.open_breaker(path, key, by=login(), reason=reason)
    except ValueError as error:
        raise CommandError(str(error)) from error
    return [f"{_what(path, key)} is open" if done else f"{_what(path, key)} was open already"]


def _close(path: str, key: str, reason: str) -> Lines:
    if breakers.close_breaker(path, key, by=login(), reason=reason):
        return [f"{_what(path, key)} is closed"]
    rows = OpenBreaker.objects.filter(state=OpenBreaker.State.OPEN)
    known = sorted({row.name for row in rows})
    raise CommandError(f"{_what(path, key)} was not open. {nearest(path, known)}")


CHANGES: dict[str, Change] = {"open": _open, "close": _close}


def _what(path: str, key: str) -> str:
    return f"the breaker of {path} ({key})" if key else f"the breaker of {path}"


def _line(row: OpenBreaker) -> str:
    about = ", ".join(text for text in (row.opened_by, row.reason) if text)
    if row.is_open:
        probes = f"next probe {moment(row.next_probe_at)}, failed probes {row.failed_probe_count}"
        state = f"open since {moment(row.opened_at)}, {probes}"
    else:
        state = f"closing, opened {moment(row.opened_at)}"
    return f"{row}: {state}" + (f": {about}" if about else "")


def _values(row: OpenBreaker) -> dict[str, Any]:
    shown = ("name", "key", "state", "opened_at", "opened_by", "reason")
    probes = ("probe_every", "next_probe_at", "failed_probe_count")
    return {name: getattr(row, name) for name in (*shown, *probes)}


SUBCOMMANDS = (
    Subcommand(
        name="breakers",
        help="List the breakers that are open, or let the waiting Tasks through; or open or close "
        "the breaker of a function.",
        do=_breakers,
        examples=(
            "breakers",
            "breakers --json",
            "breakers open orders.tasks.send --reason 'the provider is down'",
            "breakers close orders.tasks.send",
        ),
        arguments=_arguments,
        lists=True,
    ),
)
