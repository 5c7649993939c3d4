"""Two ways to show the story: a table that lives while it happens, and plain lines."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from typing import Protocol

from django.utils import timezone
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .rows import HEADINGS, Cells, Record, coming_line, past_lines, since
from .smtp import News

FULL_WIDTH = 104  # characters that the table takes with all its columns
KEPT_WHOLE = ("message", "exception", "time", "arrived")
BAR_WIDTH = 40
STYLES = {"Retrying": "yellow", "Failed": "bold red", "Succeeded": "green"}


class Screen(Protocol):
    """Shows what the rows say."""

    def live(self) -> AbstractContextManager[object]:
        """Show the story as it happens until the block is left."""

    def update(self, records: Sequence[Record], news: Sequence[News]) -> None:
        """Show the records as they are now, and what the mail servers do and have done.

        Meant to be called several times a second.
        """

    def tally(self, counts: Mapping[str, int], news: Sequence[News]) -> None:
        """Show how many there are of each kind, out of all, and the news, as `update` does."""

    def say(self, text: str) -> None: ...

    def table(self, headings: Cells, rows: Iterable[Cells]) -> None: ...


class PlainScreen:
    """Appends a line for each thing that happens."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._printed: set[object] = set()

    def live(self) -> AbstractContextManager[object]:
        return nullcontext()

    def update(self, records: Sequence[Record], news: Sequence[News]) -> None:
        self._print_news(news)
        for record in records:
            for cells in past_lines(record, self._start):
                self._print_once(cells[:2], plain_line(cells))

    def tally(self, counts: Mapping[str, int], news: Sequence[News]) -> None:
        self._print_news(news)
        hundreds = tuple(count // 100 for count in counts.values())
        shown = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        self._print_once(hundreds, f"{'Tasks':<12}{shown}")

    def say(self, text: str) -> None:
        print(text, flush=True)

    def table(self, headings: Cells, rows: Iterable[Cells]) -> None:
        lines = [headings, *rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines:
            self.say("  ".join(map(str.ljust, line, widths)).rstrip())

    def _print_news(self, news: Sequence[News]) -> None:
        for who, what in news:
            self._print_once((who, what), f"{who:<12}{what}")

    def _print_once(self, key: object, text: str) -> None:
        if key not in self._printed:
            self._printed.add(key)
            self.say(f"{since(self._start, timezone.now()):>7}  {text}")


def plain_line(cells: Cells) -> str:
    message, attempt, exception, retry_count, status, next_step, _ = cells
    return (
        f"{message:<12}attempt {attempt}  {exception or 'no exception':<24}"
        f"retry_count {retry_count}  {status:<11}{next_step}"
    )


class LiveScreen:
    """Keeps one table up to date, with a countdown to each retry."""

    def __init__(self, start: datetime) -> None:
        self._start = start
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False)

    def live(self) -> AbstractContextManager[object]:
        return self._live

    def update(self, records: Sequence[Record], news: Sequence[News]) -> None:
        self._show(self._progress(records), news)

    def tally(self, counts: Mapping[str, int], news: Sequence[News]) -> None:
        self._show(bars(counts), news)

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def table(self, headings: Cells, rows: Iterable[Cells]) -> None:
        table = new_table(headings)
        for cells in rows:
            table.add_row(*map(Text, cells))
        self._console.print(table)

    def _show(self, progress: RenderableType, news: Sequence[News]) -> None:
        lines = [Text.assemble(f"  {who} ", (what, "bold")) for who, what in news]
        self._live.update(Group(progress, *lines), refresh=True)

    def _progress(self, records: Sequence[Record]) -> Table:
        table = new_table(HEADINGS)
        for record in records:
            for cells in past_lines(record, self._start):
                table.add_row(*colored(cells))
            if not record.task.is_finished:
                coming = coming_line(record.task, self._start, timezone.now())
                table.add_row(*coming, style="cyan")
            table.add_section()
        if self._console.width < FULL_WIDTH:
            make_narrow(table)
        return table


def new_table(headings: Cells) -> Table:
    table = Table(box=box.ROUNDED)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in KEPT_WHOLE)
    return table


def bars(counts: Mapping[str, int]) -> Table:
    grid = Table.grid(padding=(0, 0, 0, 2))
    total = sum(counts.values())
    for kind, count in counts.items():
        style = STYLES.get(kind, "cyan")
        bar = ProgressBar(total, count, BAR_WIDTH, complete_style=style, finished_style=style)
        grid.add_row(Text(kind, style), bar, str(count))
    return grid


def make_narrow(table: Table) -> None:
    """Make 80 characters enough: the status is implied by the next step."""
    table.columns = [column for column in table.columns if column.header != "status"]
    for column in table.columns:
        column.header = str(column.header).replace("_", "_\n")
    table.box = box.SIMPLE_HEAD
    table.padding = (0, 1, 0, 0)


def colored(cells: Cells) -> list[Text]:
    styles = ("bold", "", "red", "", STYLES.get(cells[4], ""), "", "dim")
    return [Text(cell, style) for cell, style in zip(cells, styles, strict=True)]
