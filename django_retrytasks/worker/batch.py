"""The Tasks of one claim, while a worker holds them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from contextvars import copy_context
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django.utils import timezone

from django_retrytasks import conf, lifecycle
from django_retrytasks.broker import clusters
from django_retrytasks.database.persistence import is_transient, persist
from django_retrytasks.lifecycle import Claim, Ending, Settled
from django_retrytasks.models import Task
from django_retrytasks.values import moments

from . import sessions
from .attempt import AttemptRun
from .breaking import breaking
from .heart import PATIENCE
from .isolation import beginning, run_in_copy
from .pace import pace
from .settling import settle
from .telling import heard, tell_settled
from .together import Together

# A worker without a Task's code, as during a deploy, gives it back at most so many times: for 1,
# 2, 4 and 8 seconds. Then the attempt runs, and fails.
GIVE_BACKS = 4


@dataclass(slots=True)
class Running:
    """A Task whose function runs. Times are seconds of the monotonic clock."""

    task: Task
    started: float
    run: AttemptRun | None = None
    """Its attempt; None: not begun."""
    beaten: float | None = None
    """When its lease was last extended; None: not yet."""
    is_held: bool = True
    """Whether its claim is known to hold."""
    written: Callable[[], object] | None = None
    """The report that was last written."""

    @property
    def has_news(self) -> bool:
        """Whether its function has reported a progress that is not written."""
        return self.is_held and self.task.reported is not self.written

    def write_progress(self) -> None:
        """Write the latest report. If the database refuses it for good, it is not tried again."""
        self.written = reported = self.task.reported
        if reported is None:
            return
        try:
            lifecycle.write_progress(self.task, reported())
        except Exception as error:
            if is_transient(error):
                self.written = None
            raise


class Batch:
    """The Tasks of one claim: the waiting ones, the running ones, and unsettled endings.

    The worker's main thread runs the Tasks. Meanwhile the heart's thread may settle endings and
    give back waiting Tasks. One lock guards the shared state, the other one the writing.

    Args:
        claim: the Tasks.
        is_inline: whether it runs in the process of the caller, on the caller's connections.
        heeds_breakers: whether failures count for breakers, and Tasks wait behind open ones.
    """

    def __init__(
        self, claim: Claim, *, is_inline: bool = False, heeds_breakers: bool = True
    ) -> None:
        self._context = copy_context() if is_inline else beginning()
        self._ends_at = claim.ends_at
        self._is_inline = is_inline
        self._heeds_breakers = heeds_breakers
        self._callers = sessions.in_transaction()
        self._is_alone = is_inline or len(claim.tasks) == 1
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._waiting = deque(claim.tasks)
        self._running: dict[UUID, Running] = {}
        self._together: Together | None = None
        self._endings: list[Ending] = []
        self._leaving: list[Task] = []
        self._suspects: list[Task] = []
        self._unsent: list[Settled] = []
        self._claimed_at = claim.at or timezone.now()
        self._claimed = self._beaten = time.monotonic()

    def run(self) -> None:
        """Run the Tasks, one by one unless their function lets them run together; then settle."""
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
        run = self._attempt_of(task)
        if task.given_back_count < GIVE_BACKS and run.lacks_code:
            self._postpone(task)
        elif self._must_wait(run):
            self._leave(task)
        elif run.concurrency > 1 and self._may_share(task):
            self._run_together(run)
        else:
            self._finish(run.ending(), run.concurrency)

    def _attempt_of(self, task: Task) -> AttemptRun:
        run = AttemptRun(task, self.now, is_inline=self._is_inline, callers=self._callers)
        self._running[task.pk].run = run
        return run

    def _must_wait(self, run: AttemptRun) -> bool:
        """Whether a breaker has opened since the claim."""
        return self._heeds_breakers and breaking.holds(run.task, run.breaker)

    def _leave(self, task: Task) -> None:
        """Let a Task be given back at the end of this batch; the next claim parks it."""
        with self._lock:
            del self._running[task.pk]
            self._leaving.append(task)

    def _postpone(self, task: Task) -> None:
        self._drop(task)
        seconds = 2.0**task.given_back_count
        persist(lambda: lifecycle.postpone(task, seconds), self._until())

    def _run_together(self, first: AttemptRun) -> None:
        """Run an attempt, and with it those of waiting Tasks of its function."""
        more = partial(self._another, first.task)
        finish = partial(self._finish, together=first.concurrency)
        self._together = Together(more, finish, self._suspect, self._tell_if_settled)
        try:
            self._together.run(first)
        finally:
            self._together = None

    def _tell_if_settled(self) -> None:
        if self._unsent:
            self._tell()

    def _another(self, like: Task) -> AttemptRun | None:
        """Return the attempt of the next waiting Task that may run beside another; None: none."""
        while task := self._next(like):
            run = self._attempt_of(task)
            if run.lacks_code:
                self._postpone(task)
            elif self._must_wait(run):
                self._leave(task)
            else:
                return run
        return None

    def _fits(self, task: Task, like: Task) -> bool:
        return task.name == like.name and self._may_share(task)

    def _may_share(self, task: Task) -> bool:
        """Whether a Task may run beside others.

        A Task claimed alone counts as started, so it runs alone. In a caller's transaction, the
        threads of other attempts would not see the caller's rows.
        """
        is_plain = not (task.lapsed or task.suspect) and task.given_back_count < GIVE_BACKS
        return is_plain and not self._is_alone and not self._callers

    def _suspect(self, task: Task) -> None:
        """Let a Task be given back that may have ended by another one's doing."""
        with self._lock:
            self._running.pop(task.pk, None)
            self._suspects.append(task)

    def _drop(self, task: Task) -> None:
        with self._lock:
            del self._running[task.pk]

    def now(self) -> datetime:
        """Return the database's time: the time of the claim plus the time since."""
        passed = timedelta(seconds=time.monotonic() - self._claimed)
        return moments.after(self._claimed_at, passed)

    def settle(self) -> None:
        """Settle the unsettled endings, and send their signals."""
        self._record(self._until())
        self._tell()

    def _tell(self) -> None:
        """Send the signals of settled endings."""
        with self._lock:
            unsent, self._unsent = self._unsent, []
        if told := heard(unsent):
            for settled in told:
                run_in_copy(self._context, tell_settled, settled)
            sessions.tidy(self._callers, interrupted=False, is_own=not self._is_inline)

    def _record(self, until: float) -> None:
        """Settle the unsettled endings.

        The main thread alone sends their signals, so a hanging receiver does not stop the heart.
        While it sends them, the event loop does not run.
        """
        with self._writing:
            with self._lock:
                endings = list(self._endings)
            if not endings:
                return
            if any(ending.sign for ending in endings):
                breaking.forget()
            for done, settled in settle(endings, until):
                with self._lock:
                    del self._endings[: len(done)]
                    self._unsent += settled
        self._stand()

    def _stand(self) -> None:
        """Let the event loop stand soon, if one runs: there is something to do in between."""
        if together := self._together:
            together.stop()

    def _until(self) -> float:
        """Return when to give up recording an outcome, by the monotonic clock.

        That is the end of the lease, since later outcomes are refused; but at most one ``LEASE``
        from now, since an inline lease is long.
        """
        lease = conf.get().lease
        return min(max(self._ends_at, self._beaten + lease), time.monotonic() + lease)

    def beat(self) -> None:
        """Extend the lease of a long-running Task, settle endings, and give back waiting Tasks.

        Write what a long-running Task reports of its progress.

        Each step is tried once per beat, so that none delays the others.
        """
        at = time.monotonic()
        with ExitStack() as steps:
            # The last step is done first.
            steps.callback(self._write_progress, at)
            if at - self._claimed >= PATIENCE:
                steps.callback(self._give_back, until=at)
                steps.callback(self._record, until=at)
            steps.callback(self._extend_leases, at)
            if together := self._together:
                together.watch()

    def _extend_leases(self, at: float) -> None:
        for running in self._long_running(at):
            self._extend(running, at)

    def _write_progress(self, at: float) -> None:
        for running in self._long_running(at):
            if running.has_news:
                running.write_progress()

    def _long_running(self, at: float) -> list[Running]:
        with self._lock:
            running = list(self._running.values())
        return [each for each in running if at - each.started >= PATIENCE]

    def _extend(self, running: Running, at: float) -> None:
        task, seconds = running.task, at - running.started
        if running.is_held and _lease_is_old(running, at) and not _is_hung(task, seconds):
            started_at = moments.after(self.now(), timedelta(seconds=-seconds))
            running.is_held = lifecycle.heartbeat(task, started_at=started_at)
            running.beaten = self._beaten = at
        if task.is_cancelled and running.run and running.run.cancel():
            self._stand()

    def _next(self, like: Task | None = None) -> Task | None:
        """Take the next waiting Task, or the next that may run beside another; None: none."""
        with self._lock:
            if time.monotonic() > self._ends_at:
                # This process was frozen: another worker holds these Tasks, or finds them lapsed.
                self._waiting.clear()
            task = self._take(like)
            if task is not None:
                self._running[task.id] = Running(task, time.monotonic())
        return task

    def _take(self, like: Task | None) -> Task | None:
        if like is None:
            return self._waiting.popleft() if self._waiting else None
        task = next((each for each in self._waiting if self._fits(each, like)), None)
        if task is not None:
            self._waiting.remove(task)
        return task

    def _finish(self, ending: Ending, together: int) -> None:
        if self._heeds_breakers:
            ending = breaking.noted(ending)
        with self._lock:
            running = self._running.pop(ending.task.id)
            self._endings.append(ending)
        pace.note(time.monotonic() - running.started, together=together)
        if ending.opens_breaker:
            self._record(self._until())  # now, so that other workers learn of it

    def _give_back(self, until: float) -> None:
        with self._writing:
            with self._lock:
                self._leaving += self._waiting
                self._waiting.clear()
            self._release(self._leaving, until)
            self._release(self._suspects, until, suspect=True)

    def _release(self, tasks: list[Task], until: float, *, suspect: bool = False) -> None:
        """Give back the Tasks of a list, to which the main thread may add others meanwhile."""
        with self._lock:
            leaving = list(tasks)
        if leaving:
            persist(lambda: lifecycle.release(leaving, suspect=suspect), until)
            with self._lock:
                del tasks[: len(leaving)]

    def _give_back_suspects(self) -> None:
        """Give back lapsed Tasks that their lost worker is not known to have started."""
        suspects = [task for task in self._waiting if task.lapsed and not task.was_started]
        if suspects:
            self._waiting = deque(task for task in self._waiting if task not in suspects)
            persist(lambda: lifecycle.release(suspects, suspect=True), self._until())


def _lease_is_old(running: Running, at: float) -> bool:
    return running.beaten is None or at - running.beaten > conf.get().lease / 4


def _is_hung(task: Task, seconds: float) -> bool:
    """Whether a Task is so far past its timeout that its worker counts as dead."""
    return task.timeout is not None and seconds > task.timeout + clusters.GRACE
