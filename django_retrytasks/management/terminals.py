"""A text for a terminal: it shows what others wrote, and obeys none of it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from django.core.management.base import OutputWrapper

# What moves the cursor, ends the line, turns its direction, is not seen or cannot be encoded.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(line: str) -> str:
    r"""Return a line with each character that a terminal obeys escaped, such as ``\x1b``."""
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in UNSEEN else each
        for each in line
    )


class PrintableLines(OutputWrapper):
    """The output of a command, to which each write is one line, made printable."""

    def write(  # type: ignore[override]  # as OutputWrapper has it
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        super().write(printable(msg), style_func, ending)
