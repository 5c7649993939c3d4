"""A reading: what one measurement of one peer came to."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Reading:
    """``rate`` is in units a second. ``costs`` are those of one unit; times are microseconds."""

    rate: float
    count: int
    seconds: float
    lost: int = 0
    doubled: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    costs: dict[str, float] = field(default_factory=dict)
