"""A worker's look at the lanes of its cluster: seldom, for it takes longer the more there are."""

from __future__ import annotations

import math
import time
from functools import cached_property

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import Claim
from django_retrytasks.lifecycle.lanes import Due, Paused, Survey, paused_now, survey

# Seconds for which a worker goes by what it has seen: so late it may be for a better lane.
SIGHT = 0.25
# Or as many times as long as the look took, so that looking stays a fiftieth of the work.
SPARING = 50


class Lookout:
    """What a worker knows of a cluster's lanes while it serves one wake-up.

    Attributes:
        seen: the lanes as they were at the last look.
    """

    def __init__(self, key: str) -> None:
        self.seen = Survey(oldest={}, at=None)
        self._key = key
        self._due: Due = {}
        self._sees_until = -math.inf

    def claim(self, limit: int, worker: str) -> Claim:
        """Claim due Tasks, at most ``limit``; none only where a new look finds none."""
        claim = Claim()
        if time.monotonic() < self._sees_until:
            claim = self._claim(limit, worker)
        if not claim.tasks:
            self._look()
            claim = self._claim(limit, worker)
        self._due = claim.left
        return claim

    def sees_due(self) -> bool:
        """Whether Tasks are due, as far as was seen; where none is left, by a new look."""
        if not self._due:
            self._look()
        return bool(self._due)

    @cached_property
    def _paused(self) -> Paused:
        return paused_now()

    def _claim(self, limit: int, worker: str) -> Claim:
        if not self._due:
            return Claim()
        return lifecycle.claim(self._due, limit=limit, worker=worker, paused=self._paused)

    def _look(self) -> None:
        began = time.monotonic()
        self.seen = survey(self._paused).for_cluster(self._key)
        self._due, now = self.seen.due, time.monotonic()
        self._sees_until = now + max(SIGHT, SPARING * (now - began))
