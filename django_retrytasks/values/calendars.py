"""The moments of a periodic Task: by a cron line, or by a length of time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from django.utils import timezone

from .checked import LONGEST_WAIT, as_seconds, as_text

try:
    from croniter import croniter
except ImportError:
    croniter = None

CRON_LENGTH = 100
SHORTEST = 10
# From so many coming moments the longest wait is measured.
REACH_MOMENTS = 12
# What a calendar raises that was written by hand.
UNREADABLE = (ImportError, ValueError, KeyError, ArithmeticError)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
EXAMPLE = "such as '0 3 * * 1-5', at 3:00 from Monday to Friday"
# For croniter, H and R in a field stand for a number that it chooses, R for another each time.
CHOSEN = re.compile(r"(?<![a-z])[hr](?![a-z])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendar:
    """When a periodic Task comes. Moments are aware datetimes in UTC, in whole seconds."""

    cron: str = ""
    """A cron line of five fields, in the time zone ``TIME_ZONE``; "": none."""
    every: int | None = None
    """Seconds from one moment to the next, counted from 1970 in UTC; None: ``cron`` says when."""

    def next(self, after: datetime) -> datetime:
        """Return the first moment later than ``after``, an aware datetime.

        Raises:
            ImportError: croniter, which reads cron lines, is not installed.
            ValueError: ``cron`` cannot be read, or has no moment within 50 years.
        """
        if self.every is not None:
            return self.latest(after) + timedelta(seconds=self.every)
        return self._in_utc(self._walk(after).get_next(datetime))

    def latest(self, at: datetime) -> datetime:
        """Return the last moment that is not later than ``at``, an aware datetime.

        Raises:
            ImportError, ValueError: as :meth:`next`.
        """
        whole = at.astimezone(UTC).replace(microsecond=0)
        if self.every is not None:
            return whole - (whole - EPOCH) % timedelta(seconds=self.every)
        return self._in_utc(self._walk(whole + SECOND).get_prev(datetime))

    def coming(self, *, after: datetime, now: datetime, until: datetime) -> Iterator[datetime]:
        """Yield the moments later than ``after``, up to ``until``; of past ones only the latest."""
        moment = self.latest(now)
        if moment <= after:
            moment = self.next(after)
        while moment <= until:
            yield moment
            moment = self.next(moment)

    @property
    def is_readable(self) -> bool:
        """Whether what reads it is installed."""
        return croniter is not None or self.every is not None

    def reach(self, now: datetime) -> float:
        """Return the longest time from a moment to the next but one, among the coming ones."""
        coming = [self.next(now)]
        while len(coming) < REACH_MOMENTS:
            coming.append(self.next(coming[-1]))
        pairs = zip(coming, coming[2:], strict=False)
        return max((later - earlier).total_seconds() for earlier, later in pairs)

    def _walk(self, start: datetime) -> Any:
        if not self.is_readable:
            raise ImportError(
                f"croniter is not installed, and the cron line {self.cron!r} needs it: "
                "pip install 'django-retrytasks[periodic]'"
            )
        return croniter(self.cron, start.astimezone(timezone.get_default_timezone()))

    @staticmethod
    def _in_utc(moment: datetime) -> datetime:
        return moment.astimezone(UTC)


def has_croniter() -> bool:
    """Whether croniter is installed, which reads cron lines."""
    return croniter is not None


def as_cron(name: str, value: object) -> str:
    """Return a cron line with single spaces; without croniter only its fields are counted.

    Raises:
        TypeError: ``value`` is no str.
        ValueError: it is no cron line of five fields, or none of its moments ever comes.
    """
    line = " ".join(as_text(name, value, most=CRON_LENGTH).split())
    if line.count(" ") != 4 or CHOSEN.search(line):
        raise ValueError(f"{name} must be a cron line of five fields, {EXAMPLE}; not {value!r}")
    if has_croniter():
        try:
            Calendar(cron=line).next(datetime.now(UTC))
        except UNREADABLE as error:
            raise ValueError(
                f"{name} must be a cron line of five fields, {EXAMPLE}; not {value!r}: {error}"
            ) from None
    return line


def as_every(name: str, value: object) -> int:
    """Return a length of time in whole seconds, from 10 to 31622400 (366 days).

    Raises:
        TypeError: ``value`` is neither a number nor a timedelta.
        ValueError: it is out of range, or no whole number of seconds.
    """
    seconds = _as_length(name, value)
    if not seconds.is_integer():
        raise ValueError(f"{name} must be a whole number of seconds, not {value!r}")
    return int(seconds)


_as_length = partial(as_seconds, least=SHORTEST, most=LONGEST_WAIT)
