"""A worker's survey of its cluster's lanes: rare, since its cost grows with their number."""

from __future__ import annotations

import math
import time
from datetime import timedelta

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Claim
from django_retrytasks.lifecycle.lanes import Due, Survey, survey

from .breaking import breaking

# Seconds for which a survey is used: a better lane may be noticed so late.
SIGHT = 0.25
# Or for so many times its duration, so that surveys take at most a fiftieth of the time.
SPARING = 50


class Lookout:
    """A worker's knowledge of a cluster's lanes, while it serves one wake-up.

    Attributes:
        seen: the latest survey.
    """

    def __init__(self, key: str) -> None:
        self.seen = Survey(oldest={}, at=None)
        self._key = key
        self._due: Due = {}
        self._sees_until = -math.inf
        breaking.forget()

    def claim(self, limit: int, worker: str, *, lease: timedelta | None = None) -> Claim:
        """Claim at most ``limit`` due Tasks; none only if a new survey finds none.

        Args:
            limit: at most so many Tasks.
            worker: the name of the claiming worker.
            lease: until the claim ends; None: ``LEASE``.
        """
        claim = Claim()
        if time.monotonic() < self._sees_until:
            claim = self._claim(limit, worker, lease)
        if not claim.tasks:
            self._look()
            claim = self._claim(limit, worker, lease)
        self._due = claim.left
        if claim.left and not claim.tasks:
            breaking.forget()  # it has set Tasks aside, perhaps by old knowledge
        return claim

    def sees_due(self) -> bool:
        """Whether Tasks are due, by the latest survey; if it has none left, by a new one."""
        if not self._due:
            self._look()
        return bool(self._due)

    def _claim(self, limit: int, worker: str, lease: timedelta | None) -> Claim:
        if not self._due:
            return Claim()
        return lifecycle.claim(
            self._due, limit=limit, worker=worker, paused=breaking.paused(), lease=lease
        )

    def _look(self) -> None:
        began = time.monotonic()
        self.seen = survey(breaking.paused()).for_cluster(self._key)
        self._due, now = self.seen.due, time.monotonic()
        self._sees_until = now + max(SIGHT, SPARING * (now - began))
