"""The way of a Task between the code that enqueues it, the database and a worker."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .svg import box, edge, picture, text

CODE, DATABASE, WORKER = 110, 390, 670
HEIGHT = 500


class Step(NamedTuple):
    """One arrow, from one column to another, and the words above and below it."""

    start: int
    end: int
    y: int
    what: str
    rows: str


STEPS = (
    Step(CODE, DATABASE, 92, "enqueue", "Task PENDING + a wake-up,"),
    Step(DATABASE, WORKER, 144, "wake-up", "from run_after on"),
    Step(WORKER, DATABASE, 196, "claim", "RUNNING, a token, a lease"),
    Step(WORKER, DATABASE, 286, "heartbeat", "the lease goes on"),
    Step(WORKER, DATABASE, 390, "settle", "Attempt + new status:"),
)
UNDER_ENQUEUE = "in your transaction"
OUTCOMES = ("SUCCEEDED, or", "RETRYING + a wake-up, or", "FAILED + an announcement")
NOTES = {
    230: "If the worker dies, its lease ends:",
    250: "the Task is due again, and its next",
    270: "claim records a LOST attempt.",
    390: "Settle is refused if the lease",
    410: "has ended by then.",
}


def drawn() -> str:
    title = "Enqueue, wake-up, claim, call, decide and settle: who does what, in which order"
    return picture(title, HEIGHT, _parts())


def _parts() -> Iterator[str]:
    yield from _column(CODE, "your code", 104)
    yield from _column(DATABASE, "your database", HEIGHT - 8)
    yield from _column(WORKER, "a worker of qcluster", HEIGHT - 8)
    for step in STEPS:
        yield from _step(step)
    yield box(WORKER, 246, "call the function", width=180)
    yield box(WORKER, 340, "decide", width=180)
    yield text((CODE + DATABASE) / 2, 130, UNDER_ENQUEUE, style="faint")
    for line, words in enumerate(OUTCOMES):
        yield text((DATABASE + WORKER) / 2, 428 + 20 * line, words, style="faint")
    for y, words in NOTES.items():
        yield text(20, y, words, anchor="start", style="faint")


def _column(x: int, words: str, end: int) -> Iterator[str]:
    yield f'<line x1="{x}" y1="46" x2="{x}" y2="{end}" class="life"/>'
    yield box(x, 28, words, width=180, style="end")


def _step(step: Step) -> Iterator[str]:
    middle = (step.start + step.end) / 2
    before_the_line = -3 if step.start < step.end else 3
    yield edge(f"M{step.start},{step.y} H{step.end + before_the_line}")
    yield text(middle, step.y - 8, step.what, style="title")
    yield text(middle, step.y + 18, step.rows, style="faint")
