"""The number of Tasks to claim at once."""

from __future__ import annotations

# One claim takes about so many seconds of work. While claims leave due Tasks behind, each takes
# twice as much as the one before, up to the longest.
FIRST_SECONDS = 0.05
LONGEST_SECONDS = 0.2
# One claim takes at most so many Tasks.
LIMIT = 100


class Pace:
    """The number of Tasks to claim at once, by recent run times and by the backlog."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._seconds = FIRST_SECONDS

    @property
    def limit(self) -> int:
        """Return the number of Tasks to claim, 1 to 100; 1 until a run time is known."""
        if self._mean is None:
            return 1
        return max(1, min(LIMIT, int(self._seconds / max(self._mean, 1e-9))))

    def note_claim(self, *, leaves_due: bool) -> None:
        """Record a claim, and whether it left due Tasks behind."""
        self._seconds = min(2 * self._seconds, LONGEST_SECONDS) if leaves_due else FIRST_SECONDS

    def note(self, seconds: float) -> None:
        """Record that a Task ran for ``seconds``."""
        self._mean = seconds if self._mean is None else self._mean + (seconds - self._mean) / 5


pace = Pace()
