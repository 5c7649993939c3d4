"""The frame of a subcommand: its name, help and arguments, and the report that it returns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.management.base import CommandParser

from . import terminal


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A listing: lines for people, and the same as values for ``--json``.

    Attributes:
        lines: they are printed as text; a :class:`terminal.Note` goes to the standard error.
        values: dicts, lists and plain values.
        wrong: why the command exits with 1, after the listing; "" if it exits with 0.
    """

    lines: Iterable[str]
    values: Any
    wrong: str = ""


Lines = Iterable[str | Report]
"""Lines to print; a :class:`Report` may follow the notes about the work that it reports."""


def table(headings: Mapping[str, str], rows: Sequence[terminal.Row], none: str) -> Report:
    """Return the report of a table; ``none`` is its only line if there is no row."""
    return Report(lines=terminal.table(headings, rows) if rows else [none], values=rows)


def _none(parser: CommandParser) -> None:
    """Add no argument."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """A subcommand of ``manage.py retrytasks``.

    Attributes:
        name: such as "list".
        help: what it does, in a sentence or two.
        do: the work, a function of the options by name.
        examples: command lines, without ``manage.py retrytasks``.
        arguments: adds its arguments to its parser.
        lists: whether it returns a :class:`Report`, and so takes ``--json``.
        checks: whether Django's system checks must pass before it runs.
    """

    name: str
    help: str
    do: Callable[..., Lines | Report]
    examples: tuple[str, ...]
    arguments: Callable[[CommandParser], None] = _none
    lists: bool = False
    checks: bool = True
