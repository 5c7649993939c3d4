"""The number of Tasks to claim at once."""

from __future__ import annotations

# One claim takes about so many seconds of work, and at most so many Tasks.
BATCH_SECONDS = 0.05
BATCH_LIMIT = 50


class Pace:
    """The number of Tasks to claim at once: about 50 ms of work, by recent run times."""

    def __init__(self) -> None:
        self._mean: float | None = None

    @property
    def limit(self) -> int:
        """Return the number of Tasks to claim, 1 to 50; 1 until a run time is known."""
        if self._mean is None:
            return 1
        return max(1, min(BATCH_LIMIT, int(BATCH_SECONDS / max(self._mean, 1e-9))))

    def note(self, seconds: float) -> None:
        """Record that a Task ran for ``seconds``."""
        self._mean = seconds if self._mean is None else self._mean + (seconds - self._mean) / 5


pace = Pace()
