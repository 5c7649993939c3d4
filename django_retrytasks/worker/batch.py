"""The Tasks of one claim, while a worker holds them."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import ExitStack
from contextvars import copy_context
from datetime import datetime, timedelta

from django.utils import timezone

from django_retrytasks import conf, lifecycle
from django_retrytasks.broker import clusters
from django_retrytasks.database.persistence import persist
from django_retrytasks.lifecycle import Claim, Ending, Settled
from django_retrytasks.models import Task
from django_retrytasks.values import moments

from . import sessions
from .attempt import AttemptRun
from .heart import PATIENCE
from .isolation import beginning, run_in_copy
from .pace import pace
from .settling import settle
from .telling import tell_settled

# A worker without a Task's code, as during a deploy, gives it back at most so many times: for 1,
# 2, 4 and 8 seconds. Then the attempt runs, and fails.
GIVE_BACKS = 4


class Batch:
    """The Tasks of one claim: the waiting ones, the running one, and unsettled endings.

    The worker's main thread runs the Tasks. Meanwhile the heart's thread may settle endings and
    give back waiting Tasks. One lock guards the shared state, the other one the writing.

    Args:
        claim: the Tasks.
        is_inline: whether it runs in the process of the caller, on the caller's connections.
    """

    def __init__(self, claim: Claim, *, is_inline: bool = False) -> None:
        self._context = copy_context() if is_inline else beginning()
        self._ends_at = claim.ends_at
        self._is_inline = is_inline
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting = deque(claim.tasks)
        self._running: Task | None = None
        self._endings: list[Ending] = []
        self._leaving: list[Task] = []
        self._unsent: list[Settled] = []
        self._claimed_at = claim.at or timezone.now()
        self._claimed = self._started = self._beaten = time.monotonic()
        self._held = True

    def run(self) -> None:
        """Run the Tasks one by one, then settle."""
        try:
            self._give_back_suspects()
            while task := self._next():
                run_in_copy(self._context, self._attempt, task)
        finally:
            try:
                self.settle()
            finally:
                self._give_back(self._until())

    def _attempt(self, task: Task) -> None:
        run = AttemptRun(task, self.now, is_inline=self._is_inline)
        if task.given_back_count < GIVE_BACKS and run.lacks_code:
            seconds = 2.0**task.given_back_count
            persist(lambda: lifecycle.postpone(task, seconds), self._until())
        else:
            self._finish(run.ending())

    def now(self) -> datetime:
        """Return the database's time: the time of the claim plus the time since."""
        passed = timedelta(seconds=time.monotonic() - self._claimed)
        return moments.after(self._claimed_at, passed)

    def settle(self) -> None:
        """Settle the unsettled endings, and send their signals."""
        self._record(self._until())
        with self._lock:
            unsent, self._unsent = self._unsent, []
        callers = sessions.in_transaction()
        for settled in unsent:
            run_in_copy(self._context, tell_settled, settled)
        sessions.tidy(callers, interrupted=False, is_own=not self._is_inline)

    def _record(self, until: float) -> None:
        """Settle the unsettled endings. The main thread alone sends their signals, so that a
        hanging receiver does not stop the heart.
        """
        with self._writing:
            with self._lock:
                endings = list(self._endings)
            if not endings:
                return
            for done, settled in settle(endings, until):
                with self._lock:
                    del self._endings[: len(done)]
                    self._unsent += settled

    def _until(self) -> float:
        """Return when to give up recording an outcome, by the monotonic clock.

        That is the end of the lease, since later outcomes are refused; but at most one ``LEASE``
        from now, since an inline lease is long.
        """
        lease = conf.get().lease
        return min(max(self._ends_at, self._beaten + lease), time.monotonic() + lease)

    def beat(self) -> None:
        """Extend the lease of a long-running Task, settle endings, and give back waiting Tasks.

        Each step is tried once per beat, so that none delays the others.
        """
        with self._lock:
            task, started = self._running, self._started
        at = time.monotonic()
        with ExitStack() as steps:
            if at - self._claimed >= PATIENCE:
                steps.callback(self._give_back, until=at)
                steps.callback(self._record, until=at)
            if task is not None and at - started >= PATIENCE:
                self._extend(task, started, at)

    def _extend(self, task: Task, started: float, at: float) -> None:
        if self._held and self._lease_is_old() and not _is_hung(task, at - started):
            started_at = moments.after(self.now(), timedelta(seconds=started - at))
            self._held = lifecycle.heartbeat(task, started_at=started_at)
            self._beaten = at

    def _next(self) -> Task | None:
        with self._lock:
            if time.monotonic() > self._ends_at:
                # This process was frozen: another worker holds these Tasks, or finds them lapsed.
                self._waiting.clear()
            self._running = self._waiting.popleft() if self._waiting else None
            self._started = time.monotonic()
        return self._running

    def _finish(self, ending: Ending) -> None:
        pace.note(time.monotonic() - self._started)
        with self._lock:
            self._running = None
            self._endings.append(ending)

    def _give_back(self, until: float) -> None:
        with self._writing:
            with self._lock:
                self._leaving += self._waiting
                self._waiting.clear()
            if self._leaving:
                persist(lambda: lifecycle.release(self._leaving), until)
                self._leaving.clear()

    def _give_back_suspects(self) -> None:
        """Give back lapsed Tasks that their lost worker is not known to have started."""
        suspects = [task for task in self._waiting if task.lapsed and not task.was_started]
        if suspects:
            self._waiting = deque(task for task in self._waiting if task not in suspects)
            persist(lambda: lifecycle.release(suspects, suspect=True), self._until())

    def _lease_is_old(self) -> bool:
        unbeaten = self._beaten < self._started
        return unbeaten or time.monotonic() - self._beaten > conf.get().lease / 4


def _is_hung(task: Task, seconds: float) -> bool:
    """Whether a Task is so far past its timeout that its worker counts as dead."""
    return task.timeout is not None and seconds > task.timeout + clusters.GRACE
