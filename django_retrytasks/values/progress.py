"""Progress: how far a running function says it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from . import checked

# The longest text that is stored, in characters.
TEXT_LIMIT = 200

Number = int | float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a function is, as it has reported by ``self.progress``.

    Attributes:
        current: what is done, from 0 to 2 ** 53.
        total: what there is to do, in the same unit; None: not known.
        text: what the function does now, in words. 200 characters of it are stored.
    """

    current: Number = checked.option(checked.as_number)
    total: Number | None = checked.option(checked.or_none(checked.as_number), None)
    text: str = checked.option(checked.as_exact_text, "")

    def __post_init__(self) -> None:
        checked.check_options(self)

    @property
    def share(self) -> float | None:
        """Return the share that is done, from 0 to 1; None if the total is not known, or 0."""
        return min(self.current / self.total, 1.0) if self.total else None

    @property
    def as_stored(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return asdict(self)

    @classmethod
    def read(cls, stored: Any) -> Progress | None:
        """Return a stored progress; None if there is none, or if the stored value is another."""
        if not isinstance(stored, Mapping):
            return None
        try:
            return cls(**stored)
        except (TypeError, ValueError):
            return None
