"""The ids that a verb is given, checked before anything is done."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID


def as_ids(ids: Iterable[UUID]) -> list[UUID]:
    """Return ids as UUIDs; the text of a UUID, such as a result's id, is accepted for it.

    Raises:
        TypeError: one id in place of several, or a thing that is no id.
        ValueError: a text that spells no UUID.
    """
    several: object = ids
    if isinstance(several, str | bytes | UUID) or not isinstance(several, Iterable):
        raise TypeError(f"ids must be several UUIDs, such as a list of them, not {several!r:.80}")
    return [as_id(one) for one in several]


def as_id(one: object) -> UUID:
    """Return an id as a UUID.

    Raises:
        TypeError, ValueError: as :func:`as_ids`.
    """
    if isinstance(one, UUID):
        return one
    if not isinstance(one, str):
        raise TypeError(f"an id must be a UUID or its text, not {one!r:.80}")
    try:
        return UUID(one)
    except ValueError:
        raise ValueError(f"an id must be a UUID or its text, not {one!r:.80}") from None
