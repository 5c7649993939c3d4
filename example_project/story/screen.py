"""What the demo shows: a table that lives where the output is a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

FRAMED_WIDTH = 96  # characters that the widest table with a frame takes
PLAIN_WIDTH = 160  # characters; of a file or a pipe, which have no width
STYLES = {"Retrying": "yellow", "Failed": "bold red", "Succeeded": "green", "SUCCEEDED": "green"}

Cells = tuple[str, ...]


class Screen:
    def __init__(self, *, plain: bool) -> None:
        width = None if sys.stdout.isatty() else PLAIN_WIDTH
        self._console = Console(highlight=False, markup=False, emoji=False, width=width)
        self._is_live = sys.stdout.isatty() and not plain
        is_wide = self._console.width >= FRAMED_WIDTH
        self._frame = box.ROUNDED if self._is_live and is_wide else None
        self._live = Live(console=self._console, auto_refresh=False)
        self._began = time.monotonic()
        self._printed: set[str] = set()

    def live(self) -> AbstractContextManager[object]:
        """Show the story as it happens until the block is left."""
        return self._live if self._is_live else nullcontext()

    @property
    def seconds(self) -> float:
        """Return the seconds since the beginning."""
        return time.monotonic() - self._began

    def show(
        self, headings: Cells, past: Sequence[Cells], now: Sequence[Cells], news: Iterable[str]
    ) -> None:
        """Show what is final, what still changes, and the news; called several times a second.

        Plain lines leave out what still changes.
        """
        if self._is_live:
            table = new_table(headings, [*past, *now], self._frame)
            self._live.update(Group(table, *map(Text, news)), refresh=True)
            return
        for line in (*news, *plain_lines(headings, past)):
            if line not in self._printed:
                self._printed.add(line)
                self.say(f"{self.seconds:5.1f} s  {line}")

    def say(self, text: str) -> None:
        self._console.print(text)

    def table(self, headings: Cells, lines: Iterable[Cells]) -> None:
        self._console.print(new_table(headings, lines, self._frame))


def new_table(headings: Cells, lines: Iterable[Cells], frame: box.Box | None) -> Table:
    table = Table(*headings, box=frame, pad_edge=frame is not None)
    for column in table.columns[:-1]:
        column.no_wrap = True
    for line in lines:
        table.add_row(*(Text(cell, STYLES.get(cell, "")) for cell in line))
    return table


def plain_lines(headings: Cells, lines: Sequence[Cells]) -> Iterator[str]:
    for first, *others in lines:
        named = zip(headings[1:], others, strict=True)
        yield ", ".join([first, *(f"{heading} {cell}" for heading, cell in named if cell)])
