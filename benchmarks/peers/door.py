"""The functions that each peer's module has; ``host.py`` calls them."""

from __future__ import annotations

from typing import Protocol


class Door(Protocol):
    def prepare(self) -> None:
        """Make the tables, in a new database."""

    def empty(self) -> None:
        """Delete all tasks and all that is kept of them."""

    def enqueue(self, work: str, count: int, seconds: float) -> None:
        """Enqueue tasks of the numbers 0 to ``count`` less one, as quickly as the peer can.

        ``work`` is "nothing", "sleeps" (for ``seconds``) or "fails" (three retries, no wait).
        """

    def enqueue_each(self, count: int) -> None:
        """Enqueue so many tasks that do nothing, one by one, as a site's code would."""

    def left(self) -> int:
        """Return how many tasks are not yet recorded as done."""

    def kept(self) -> dict[str, int]:
        """Return how many "tasks", "attempts" and "tracebacks" are kept of what has run."""
