"""A worker process's knowledge of breakers: its failures in a row, and which breakers are open."""

from __future__ import annotations

import math
import time
import uuid
from collections import OrderedDict
from dataclasses import replace
from typing import NamedTuple

from django_retrytasks.lifecycle import Ending
from django_retrytasks.lifecycle.breakers import let_due_probes_through
from django_retrytasks.lifecycle.endings import Meaning, Sign
from django_retrytasks.lifecycle.lanes import NOTHING_PAUSED, Paused, paused_now
from django_retrytasks.models import Attempt, BreakerKey, OpenBreaker, Task
from django_retrytasks.policy import Breaker, Decision, StopReason
from django_retrytasks.tasks import RetryTask
from django_retrytasks.values import moments
from django_retrytasks.values.texts import number_text

from .timeouts import briefly_or

# Seconds after which a worker reads again what is paused, and which breakers are open.
SIGHT = 1.0
# So many keys have a count of failures; the key that failed longest ago gives way.
MOST_KEYS = 1000
# What a probe's failure does not end, though the policy would.
NOT_ITS_FAULT = (None, StopReason.MAX_RETRIES, StopReason.RETRY_FOR)


class Streak(NamedTuple):
    """Failures in a row, and the id of the latest Task."""

    length: int
    pk: uuid.UUID


class Breaking:
    """The streaks of this process, by key, and the pauses and breakers as last read."""

    def __init__(self) -> None:
        self._streaks: OrderedDict[BreakerKey, Streak] = OrderedDict()
        self._paused = NOTHING_PAUSED
        self._read_at = -math.inf

    def forget(self) -> None:
        """Have the pauses and breakers read again at the next look."""
        self._read_at = -math.inf

    def forget_unstored(self) -> None:
        """Forget streaks whose latest Task is not stored any more, as after a test's rollback."""
        if self._streaks:
            pks = [streak.pk for streak in self._streaks.values()]
            stored = set(Task.objects.filter(pk__in=pks).values_list("pk", flat=True))
            kept = ((key, each) for key, each in self._streaks.items() if each.pk in stored)
            self._streaks = OrderedDict(kept)

    def paused(self) -> Paused:
        """Return what is paused and which breakers are open: at most a second old.

        Where the next probe is due, a Task is let through first.
        """
        if time.monotonic() - self._read_at > SIGHT:
            paused = paused_now()
            if any(row.is_late for row in paused.breakers.values()):
                let_due_probes_through()
                paused = paused_now()
            self._paused, self._read_at = paused, time.monotonic()
        return self._paused

    def holds(self, task: Task, breaker: Breaker | None) -> bool:
        """Whether a claimed Task of a function with this breaker must wait, not start."""
        if breaker is None or task.lapsed:
            return False
        return self._known(task).breaker_before(task) is not None

    def noted(self, ending: Ending) -> Ending:
        """Count an ending, and return it with its meaning for the breaker of its Task."""
        task = ending.task
        breaker = ending.definition.breaker if isinstance(ending.definition, RetryTask) else None
        paused = self._known(task) if breaker else self._paused
        row = paused.breakers.get((task.name, task.breaker_key)) if paused.breakers else None
        if breaker is None and row is None:
            return ending
        is_probe = row is not None and row.is_open and row.probe == task.pk
        if ending.outcome == Attempt.Outcome.SUCCEEDED or breaker is None:
            self._streaks.pop((task.name, task.breaker_key), None)
            passes = is_probe or (row is not None and not row.is_open)
            return replace(ending, sign=Sign(meaning=Meaning.PASSES)) if passes else ending
        return self._failed(ending, breaker, row if is_probe else None)

    def _failed(self, ending: Ending, breaker: Breaker, probed: OpenBreaker | None) -> Ending:
        """Count an ending without success; ``probed`` is the breaker whose probe it was."""
        counts, asked = _judged(ending, breaker)
        if probed and (counts or ending.outcome == Attempt.Outcome.LOST):
            return _failed_probe(ending, asked or breaker.probe_every)
        if probed:
            return replace(ending, sign=Sign(meaning=Meaning.SKIPS))
        if not counts:
            return ending
        key = (ending.task.name, ending.task.breaker_key)
        before = self._streaks.pop(key, None)
        count = before.length + 1 if before else 1
        if count < breaker.failures and not asked:
            self._streaks[key] = Streak(count, ending.task.pk)
            if len(self._streaks) > MOST_KEYS:
                self._streaks.popitem(last=False)
            return ending
        return replace(ending, sign=_opening(ending, breaker, count, asked))

    def _known(self, task: Task) -> Paused:
        """Return what is known now; of a Task that may be the probe, what is true now."""
        if task.suspect:
            self.forget()
        try:
            return self.paused()
        except Exception:  # the database is away, which costs no ending: the settle meets it again
            return self._paused


def _judged(ending: Ending, breaker: Breaker) -> tuple[bool, float | None]:
    """Return whether a failure counts, and for how many seconds the service asks to be let be."""
    error, now = ending.raised, moments.as_instant(ending.finished_at)
    if error is None:
        return False, None
    # Foreign code: a class decides on its subclasses, and an exception on its attributes.
    counts = briefly_or(lambda _: False, lambda: breaker.counts(error))
    return counts, briefly_or(lambda _: None, lambda: breaker.wait(error, now)) if counts else None


def _failed_probe(ending: Ending, wait: float) -> Ending:
    """Return the ending of a probe that failed: no retry is spent, unless its worker was lost."""
    decision, spends = ending.decision, ending.outcome == Attempt.Outcome.LOST
    if decision.stop_reason not in NOT_ITS_FAULT:
        spends = True
    if not spends:
        reason = f"probe of an open breaker: again in {number_text(wait)} s, no retry spent"
        decision = Decision(countdown=wait, stop_reason=None, reason=reason)
    sign = Sign(meaning=Meaning.FAILS, wait=wait, is_uncharged=not spends)
    return replace(ending, decision=decision, sign=sign)


def _opening(ending: Ending, breaker: Breaker, streak: int, asked: float | None) -> Sign:
    error = ending.error.class_path if ending.error else ""
    why = f"{streak} failures in a row" if streak > 1 else "a failure"
    request = f", Retry-After {number_text(asked)} s" if asked else ""
    return Sign(
        meaning=Meaning.OPENS,
        wait=asked or breaker.probe_every,
        probe_every=breaker.probe_every,
        reason=f"{why}: {error.rpartition('.')[2]}{request}",
        exception_class_path=error,
    )


breaking = Breaking()
