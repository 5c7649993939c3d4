"""Ids: read them from arguments, and make them for rows."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from uuid import UUID


def as_ids(ids: Iterable[UUID]) -> list[UUID]:
    """Return ids as UUIDs; also accepts texts of UUIDs, such as a result's id.

    Raises:
        TypeError: a single id, or another type.
        ValueError: a text that is no UUID.
    """
    several: object = ids
    if isinstance(several, str | bytes | UUID) or not isinstance(several, Iterable):
        raise TypeError(f"ids must be several UUIDs, such as a list of them, not {several!r:.80}")
    return [as_id(each) for each in several]


def as_id(value: object) -> UUID:
    """Return an id as a UUID.

    Raises:
        TypeError, ValueError: as :func:`as_ids`.
    """
    if isinstance(value, UUID):
        return value
    if not isinstance(value, str):
        raise TypeError(f"an id must be a UUID or its text, not {value!r:.80}")
    try:
        return UUID(value)
    except ValueError:
        raise ValueError(f"an id must be a UUID or its text, not {value!r:.80}") from None


def as_uuid(value: int, *, version: int) -> uuid.UUID:
    """Return a UUID from 128 bits, six of which its version and variant replace (RFC 9562)."""
    value = value & ~(0xF << 76) | version << 76
    return uuid.UUID(int=value & ~(0x3 << 62) | 0x2 << 62)


def uuid7(milliseconds: int | None = None, seed: bytes | None = None) -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562), which begins with Unix time in milliseconds.

    Args:
        milliseconds: since 1970; None: now.
        seed: ten bytes for the rest; None: random bytes.
    """
    milliseconds = time.time_ns() // 1_000_000 if milliseconds is None else milliseconds
    return as_uuid(milliseconds << 80 | int.from_bytes(seed or os.urandom(10)), version=7)
