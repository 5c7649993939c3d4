"""Checked options: an error names the option and its allowed values.

A check is a function of an option's name and value. It returns the value to keep, or raises
TypeError for a wrong type and ValueError for a value out of its range.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, field, fields
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import Enum
from functools import partial
from reprlib import repr as short_repr
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

Duration = int | float | timedelta
Check = Callable[[str, Any], Any]

LONGEST_WAIT: Final = 366 * 86_400.0
LARGEST_NUMBER: Final = 2**53  # up to here, JSON's readers keep whole numbers exact
LARGEST_COUNT: Final = 2**31 - 1  # what an integer column holds on every database
# What every database stores, before the moments of parked Tasks, with room for a wait added later.
YEARS: Final = range(1000, 9998)


class Unset(Enum):
    """The type of `UNSET`, for an argument whose None has a meaning of its own."""

    UNSET = "UNSET"


UNSET: Final = Unset.UNSET


def as_seconds(
    name: str,
    value: object,
    *,
    above_zero: bool = False,
    least: float = 0,
    most: float = LONGEST_WAIT,
) -> float:
    """Return a duration as float seconds.

    Args:
        name: the duration's name in an error.
        value: seconds (int, float; no bool) or a timedelta.
        above_zero: whether to refuse 0.
        least: the smallest value allowed, in seconds.
        most: the largest value allowed, in seconds.

    Raises:
        TypeError: `value` is of another type.
        ValueError: `value` is out of its range or not finite.
    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise _other_type(name, "seconds (int, float) or a timedelta", value)
    if not least <= seconds <= most or (above_zero and seconds == 0):
        lowest = "above 0" if above_zero else f"at least {least:.15g}"
        limit = "finite" if most == sys.float_info.max else f"at most {most:.15g}"
        raise ValueError(f"{name} must be {lowest} and {limit} seconds, not {short_repr(value)}")
    return float(seconds)


as_positive_seconds = partial(as_seconds, above_zero=True)


def as_datetime(name: str, value: datetime) -> datetime:
    """Return a datetime of a year from 1000 to 9997.

    Raises:
        ValueError: it is of another year.
    """
    if value.year not in YEARS:
        raise ValueError(f"{name} must be of a year from 1000 to 9997, not {value.isoformat()}")
    return value


def as_count(name: str, value: object, *, least: int = 0, most: int = LARGEST_COUNT) -> int:
    """Return a whole number from `least` to `most`, by default 2147483647.

    Raises:
        TypeError: `value` is no int, or a bool.
        ValueError: `value` is out of its range.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise _other_type(name, "an int", value)
    if not least <= value <= most:
        raise ValueError(f"{name} must be from {least} to {most}, not {short_repr(value)}")
    return int(value)


def as_number(name: str, value: object) -> int | float:
    """Return a number from 0 to 2 ** 53.

    Raises:
        TypeError: `value` is no int or float, or a bool.
        ValueError: `value` is out of its range or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _other_type(name, "a number (int, float)", value)
    if not 0 <= value <= LARGEST_NUMBER:
        raise ValueError(f"{name} must be from 0 to {LARGEST_NUMBER}, not {short_repr(value)}")
    return int(value) if isinstance(value, int) else float(value)


def as_share(name: str, value: object) -> float:
    """Return a share as float.

    Raises:
        TypeError: `value` is no int or float, or a bool.
        ValueError: `value` is below 0, or 1 or more.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _other_type(name, "a share (int, float)", value)
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be a share of at least 0 and below 1, not {value!r}")
    return float(value)


def as_bool(name: str, value: object) -> bool:
    """Return True or False; raise TypeError for anything else."""
    if not isinstance(value, bool):
        raise _other_type(name, "True or False", value)
    return value


def as_text(name: str, value: object, *, least: int = 0, most: int = LARGEST_COUNT) -> str:
    """Return a text of `least` to `most` characters.

    Raises:
        TypeError: `value` is no str.
        ValueError: `value` is too short or too long.
    """
    if not isinstance(value, str):
        raise _other_type(name, "a string", value)
    if not least <= len(value) <= most:
        limits = f"from {least} to {most} characters"
        raise ValueError(f"{name} must have {limits}, not {short_repr(value)}")
    return value


def as_exact_text(name: str, value: object) -> str:
    """Return a text as a plain str, whatever its subclass does; raise TypeError for all else."""
    return as_text(name, str.__str__(value) if isinstance(value, str) else value)


def as_texts(
    name: str, value: Any, *, expected: str = "a list of strings", least: int = 0
) -> tuple[str, ...]:
    """Return a list or tuple of texts as a tuple; raise TypeError for all else, even a str.

    Args:
        expected: description of the value for the error.
        least: the smallest number of texts.
    """
    if isinstance(value, str):
        expected += f" such as [{value!r}]"
    is_list = isinstance(value, list | tuple) and len(value) >= least
    if not is_list or not all(isinstance(item, str) for item in value):
        raise _other_type(name, expected, value)
    return tuple(value)


def as_list(name: str, value: object, *, least: int = 0) -> Sequence[Any]:
    """Return a list or tuple of at least `least` items. Errors show no item: it may be a secret.

    Raises:
        TypeError: `value` is no list or tuple.
        ValueError: `value` has too few items.
    """
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list, not a {type(value).__name__}")
    if len(value) < least:
        raise ValueError(f"{name} must be a list of at least {least}, not of {len(value)}")
    return value


def as_mapping(name: str, value: object) -> Mapping[str, Any]:
    """Return a mapping; raise TypeError for anything else."""
    if isinstance(value, Mapping):
        return value
    raise _other_type(name, "a dict", value)


def http_parts(value: object) -> SplitResult | None:
    """Return the parts of an http or https URL with a host; None for anything else."""
    with suppress(ValueError):
        parts = urlsplit(value) if isinstance(value, str) else None
        if parts and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    return None


def or_none(check: Check) -> Check:
    """Return a check that also accepts None."""
    return lambda name, value: None if value is None else check(name, value)


def _other_type(name: str, wanted: str, value: object) -> TypeError:
    return TypeError(f"{name} must be {wanted}, not {short_repr(value)}")


def option(check: Check, default: Any = MISSING, **how: Any) -> Any:
    """Declare a checked field of a dataclass.

    Args:
        check: the check.
        default: the default, unchecked.
        how: further arguments of :func:`dataclasses.field`.
    """
    return field(default=default, metadata={"check": check}, **how)


def options(kind: Any, values: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return checked values for options of a dataclass.

    Args:
        kind: the dataclass, or one of its objects.
        values: values by the name of the option; some options may be missing.
        owner: prefix of an option's name in an error.

    Raises:
        TypeError, ValueError: as the checks.
    """
    known = kind.__dataclass_fields__
    return {
        name: known[name].metadata.get("check", _unchecked)(f"{owner}{name}", value)
        for name, value in values.items()
    }


def _unchecked(name: str, value: Any) -> Any:
    return value


def fill(frozen: Any, values: Mapping[str, Any]) -> None:
    """Set the fields of a new frozen dataclass, as its ``__init__`` would.

    Args:
        frozen: the object.
        values: by name; a missing field gets its default.
    """
    for each in fields(frozen):
        value = values[each.name] if each.name in values else _default_of(each)
        object.__setattr__(frozen, each.name, value)


def _default_of(each: Any) -> Any:
    return each.default if each.default_factory is MISSING else each.default_factory()


def check_options(frozen: Any) -> None:
    """Check the options of a new frozen dataclass, in its ``__post_init__``."""
    values = {each.name: getattr(frozen, each.name) for each in fields(frozen)}
    fill(frozen, options(frozen, values, owner=""))


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint for an unknown name: the most similar name, all, or that there is none."""
    choices = list(names)
    if not choices:
        return "There is none to choose from."
    return meant(name, choices) or f"Choose from: {', '.join(choices)}."


def meant(name: str, names: Iterable[str]) -> str:
    """Return a hint with the most similar name; "" if no name is similar."""
    near = get_close_matches(name, list(names), n=1)
    return f'Did you mean "{near[0]}"?' if near else ""
