"""The fenced blocks of a page, read without Django."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(
    r"(?P<no_run><!-- no-run: [^\n]+ -->\n+)?"
    r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
FILE = re.compile(r"# (?P<path>[\w/]+)\.py\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block of a page."""

    language: str
    code: str
    line: int
    is_run: bool

    @property
    def path(self) -> str:
        """Return the module path that its first line names, such as ``orders.tasks``, or ""."""
        named = FILE.match(self.code)
        return named["path"].replace("/", ".") if named else ""


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(
            language=found["language"],
            code=textwrap.dedent(found["code"]),
            line=text.count("\n", 0, found.start("code")) + 1,
            is_run=not found["no_run"],
        )
        for found in FENCE.finditer(text)
    ]
