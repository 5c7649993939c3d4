"""What tasks do, the same for every peer: each run leaves a record."""

from __future__ import annotations

import time

from benchmarks.measuring.records import record

# So many retries follow the first attempt of a task that fails.
RETRIES = 3


def nothing(number: int) -> None:
    record(number)


def sleeps(number: int, seconds: float) -> None:
    record(number)
    time.sleep(seconds)


def fails(number: int) -> None:
    record(number)
    raise ConnectionError("no luck")


def arguments(work: str, count: int, seconds: float) -> list[tuple[int] | tuple[int, float]]:
    """Return the arguments of tasks 0 to ``count`` less one."""
    numbers = range(count)
    if work == "sleeps":
        return [(number, seconds) for number in numbers]
    return [(number,) for number in numbers]
