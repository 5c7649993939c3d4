"""Ids: read them from arguments, and make them for rows."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from uuid import UUID

# Ticks in a millisecond: twelve bits of an id.
TICKS = 1 << 12
# A clock that goes back by less than a second changes no order; by more, it has been set.
ORDER_KEPT = 1000 * TICKS


class _Last(threading.local):
    tick = 0


_last = _Last()


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


def digest_id(data: bytes) -> uuid.UUID:
    """Return a digest of data as a UUID of version 8 (RFC 9562)."""
    value = int.from_bytes(sha256(data).digest()[:16])
    # MariaDB refuses a UUID of version 8 whose ninth byte is 0x80: always set one more bit.
    return as_uuid(value | 1 << 61, version=8)


def uuid7() -> uuid.UUID:
    """Return a new UUID of version 7 (RFC 9562).

    The UUIDs of one thread sort in the order they were made, unless the clock is set back.
    """
    tick = _tick(time.time_ns() // 1000)
    if 0 <= _last.tick - tick < ORDER_KEPT:
        tick = _last.tick + 1
    _last.tick = tick
    return _from_tick(tick, os.urandom(8))


def uuid7_of(at: datetime, seed: bytes) -> uuid.UUID:
    """Return a UUID of version 7 (RFC 9562) from a moment and a seed: always the same one.

    Args:
        at: the moment it begins with, a naive one in the site's time zone; before 1970: 1970.
        seed: eight bytes for the rest.
    """
    return _from_tick(_tick(max(0, round(at.timestamp() * 1_000_000))), seed)


def _tick(microseconds: int) -> int:
    return microseconds * TICKS // 1000


def _from_tick(tick: int, rest: bytes) -> uuid.UUID:
    # Twelve bits of finer time follow the milliseconds and the version (method 3 of the RFC).
    milliseconds, fraction = divmod(tick, TICKS)
    return as_uuid(milliseconds << 80 | fraction << 64 | int.from_bytes(rest), version=7)
