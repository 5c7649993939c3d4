"""The wait that a failed call's response requests: the HTTP field Retry-After."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from django.utils.http import parse_http_date

LONGEST_RETRY_AFTER: Final = 86_400.0


def retry_after_seconds(exception: BaseException, now: datetime) -> float | None:
    """Return the wait that an exception requests, in seconds from 0 to 86400.

    Reads its attribute `retry_after` (a number, timedelta, numeric string or HTTP date), else the
    Retry-After header of its `response.headers`, as in requests and httpx. None: no valid request.
    """
    for read in (_attribute, _header):
        with suppress(Exception):  # foreign attributes may raise anything
            seconds = _seconds_from(read(exception), now)
            if seconds is not None and math.isfinite(seconds):
                return min(max(seconds, 0.0), LONGEST_RETRY_AFTER)
    return None


def _attribute(exception: BaseException) -> object:
    return getattr(exception, "retry_after", None)


def _header(exception: BaseException) -> object:
    headers = getattr(getattr(exception, "response", None), "headers", None) or {}
    return next((value for name, value in headers.items() if name.lower() == "retry-after"), None)


def _seconds_from(value: object, now: datetime) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str):
        with suppress(ValueError):
            return float(value)
        return parse_http_date(value) - now.timestamp()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
