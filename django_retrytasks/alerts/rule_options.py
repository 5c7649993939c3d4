"""The options of alert rules, each checked."""

from __future__ import annotations

from dataclasses import MISSING, field
from functools import partial
from typing import Any

from django_retrytasks.models import Task

# The latest so many Tasks of a status are counted, and none that ended before.
COUNT_LIMIT = 10_000


def as_share(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a share (int, float), not {value!r}")
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be a share of at least 0 and below 1, not {value!r}")
    return float(value)


def _as_text(name: str, value: object, *, of: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    if not 0 < len(value) <= of.max_length:
        raise ValueError(f"{name} must have from 1 to {of.max_length} characters, not {value!r}")
    return value


as_name = partial(_as_text, of=Task._meta.get_field("name"))
as_queue_name = partial(_as_text, of=Task._meta.get_field("queue_name"))


def checked_option(check: Any, default: Any = MISSING) -> Any:
    """Declare an option of a rule; ``check`` takes its name and value, and returns the value."""
    checked = check if default is not None else partial(_none_or, check)
    return field(default=default, metadata={"check": checked})


def _none_or(check: Any, name: str, value: object) -> Any:
    return None if value is None else check(name, value)
