"""Make foreign text safe for a terminal: control characters are shown, not obeyed."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from django.core.management.base import OutputWrapper

# Control, formatting and surrogate characters, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(line: str) -> str:
    r"""Return a line with control characters escaped, such as ``\x1b``."""
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in UNSEEN else each
        for each in line
    )


class PrintableLines(OutputWrapper):
    """The output of a command; each write is one line and made printable."""

    def write(  # type: ignore[override]  # as OutputWrapper has it
        self,
        msg: str = "",
        style_func: Callable[[str], str] | None = None,
        ending: str | None = None,
    ) -> None:
        super().write(printable(msg), style_func, ending)
