"""Values that are checked and named in the error: durations, counts, and a name near another."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from enum import Enum
from typing import Final

Duration = int | float | timedelta

LONGEST_WAIT: Final = 366 * 86_400.0
LARGEST_COUNT: Final = 2**31 - 1  # what an integer column holds on every database


class Unset(Enum):
    """The type of `UNSET`, for an argument whose None has a meaning of its own."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET


def as_seconds(
    name: str,
    value: object,
    *,
    above_zero: bool = False,
    most: float = LONGEST_WAIT,
) -> float:
    """Return a duration as float seconds.

    Args:
        name: what to call the duration in an error.
        value: seconds (int, float; no bool) or a timedelta.
        above_zero: whether 0 is too little.
        most: the largest value allowed, in seconds.

    Raises:
        TypeError: `value` is of another type.
        ValueError: `value` is out of its range or not finite.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(
            f"{name} must be seconds (int, float) or a timedelta, not {reprlib.repr(value)}"
        )
    if not 0 <= seconds <= most or (above_zero and seconds == 0):
        least = "above 0" if above_zero else "at least 0"
        limit = "finite" if most == sys.float_info.max else f"at most {most:.15g}"
        raise ValueError(f"{name} must be {least} and {limit} seconds, not {reprlib.repr(value)}")
    return float(seconds)


def as_count(name: str, value: object, *, least: int = 0, most: int = LARGEST_COUNT) -> int:
    """Return a whole number from `least` to `most`, 2147483647 unless told.

    Raises:
        TypeError: `value` is no int, or a bool.
        ValueError: `value` is out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {reprlib.repr(value)}")
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {reprlib.repr(value)}")
    return int(value)


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint for a name that is none of these: the one most like it, or all of them."""
    choice = list(names)
    near = get_close_matches(name, choice, n=1)
    return f'Did you mean "{near[0]}"?' if near else f"Choose from: {', '.join(choice)}."
