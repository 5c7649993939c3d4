"""Ids: as a caller gives them, and as rows get them."""

from __future__ import annotations

import os
import time
import uuid
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


def as_uuid(value: int, *, version: int) -> uuid.UUID:
    """Return a UUID of 128 bits, six of them replaced by the marks of its version (RFC 9562)."""
    value = value & ~(0xF << 76) | version << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def uuid7(milliseconds: int | None = None, seed: bytes | None = None) -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562): 48 bits of Unix time in milliseconds come first.

    Args:
        milliseconds: since 1970; None: now.
        seed: ten bytes for the rest; None: random ones.
    """
    milliseconds = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    return as_uuid(milliseconds << 80 | int.from_bytes(seed or os.urandom(10)), version=7)
