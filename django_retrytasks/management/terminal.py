"""Text for a terminal: escaped characters, tables, JSON, moments and progress."""

from __future__ import annotations

import json
import time
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_retrytasks.operators.wording import as_local

# Control, formatting and surrogate characters, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Seconds between two notes about progress.
NOTE_EVERY = 2.0

Row = Mapping[str, Any]
"""A row of a listing, as in its JSON."""


class Note(str):
    """A line about progress: it goes to the standard error, or nowhere with ``--verbosity 0``."""

    __slots__ = ()


def printable(line: str, encoding: str | None = None) -> str:
    r"""Return a line with control characters escaped, such as ``\x1b``: a terminal obeys none.

    Characters that the encoding lacks are escaped, too; None: it has all.
    """
    seen = "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in UNSEEN else each
        for each in line
    )
    return seen.encode(encoding, "backslashreplace").decode(encoding) if encoding else seen


def json_lines(values: Any) -> Iterable[str]:
    """Return values as JSON in lines, in ASCII."""
    return json.dumps(values, cls=DjangoJSONEncoder, indent=2).splitlines()


def table(headings: Mapping[str, str], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a heading and a line for each row; numbers stand at the right.

    Args:
        headings: the keys to show, each with the heading of its column.
        rows: values by key.
    """
    columns = [_column(heading, [row[key] for row in rows]) for key, heading in headings.items()]
    for cells in zip(*columns, strict=True):
        yield "  ".join(cells).rstrip()


def _column(heading: str, values: Sequence[Any]) -> list[str]:
    cells = [printable(heading), *(printable(cell(value)) for value in values)]
    is_number = bool(values) and all(isinstance(value, int | float | None) for value in values)
    width = max(map(len, cells))
    return [each.rjust(width) if is_number else each.ljust(width) for each in cells]


def cell(value: Any) -> str:
    """Return a value for a table's cell: one line, "-" for None."""
    match value:
        case None:
            return "-"
        case datetime():
            return moment(value)
        case float():
            return f"{value:.3f}"
    return str(value)


def moment(at: datetime | None) -> str:
    """Return a moment to the second, in local time with its offset from UTC; "never" for None."""
    return as_local(at).isoformat(sep=" ", timespec="seconds") if at else "never"


def spaced(text: str) -> str:
    """Return a text with plain spaces in place of those that do not break a line."""
    return text.replace("\u00a0", " ")


class Progress:
    """Notes about long work, not more often than every two seconds.

    Args:
        done: the words after the count, such as "Tasks deleted".
    """

    def __init__(self, done: str) -> None:
        self._done = done
        self._noted_at = time.monotonic()

    def note(self, count: int) -> Iterator[Note]:
        """Yield a note if it is time for one."""
        if time.monotonic() - self._noted_at >= NOTE_EVERY:
            self._noted_at = time.monotonic()
            yield Note(f"{count:,} {self._done} so far")
