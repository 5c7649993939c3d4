"""The number of Tasks to claim at once."""

from __future__ import annotations

from django_retrytasks.lifecycle.claiming import LARGEST_CLAIM

# One claim takes about so many seconds of work. While claims leave due Tasks behind, each takes
# twice as much as the one before, up to the longest.
FIRST_SECONDS = 0.05
LONGEST_SECONDS = 0.2
# Or more, by this part of one Task: 4 Tasks of 50 ms, though each takes a little longer.
TOLERANCE = 0.1


class Pace:
    """The number of Tasks to claim at once, by recent run times and by the backlog."""

    def __init__(self) -> None:
        self._mean: float | None = None
        self._seconds = FIRST_SECONDS
        self._together = 1

    @property
    def limit(self) -> int:
        """Return the number of Tasks to claim, 1 to 200; 1 until a run time is known."""
        if self._mean is None:
            return 1
        number = int(self._seconds / max(self._mean, 1e-9) + TOLERANCE)
        rounds = max(1, round(number / self._together))
        return min(LARGEST_CLAIM, rounds * self._together)

    def note_claim(self, *, leaves_due: bool) -> None:
        """Record a claim, and whether it left due Tasks behind."""
        self._seconds = min(2 * self._seconds, LONGEST_SECONDS) if leaves_due else FIRST_SECONDS

    def note(self, seconds: float, *, together: int = 1) -> None:
        """Record the run time of a Task.

        Args:
            seconds: the time.
            together: how many Tasks of its function may run together. The next claim takes so many,
                or a multiple: together they take no longer than one.
        """
        share = seconds / together
        self._mean = share if self._mean is None else self._mean + (share - self._mean) / 5
        self._together = together


pace = Pace()
