"""What a woken worker does: claim, call, decide, settle, for about one slice."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack, nullcontext
from contextvars import copy_context
from datetime import UTC, datetime, timedelta

from django.db import connections
from django.utils import timezone
from django.utils.module_loading import import_string

from . import conf, lifecycle, moments, sessions, wakeups
from .attempts import AttemptRun, worker_name
from .heart import PATIENCE, Heart
from .isolation import beginning, run_in_copy
from .lanes import Survey
from .lifecycle import Claim, ClaimInDoubt, Ending, Settled
from .lookout import Lookout
from .models import Task
from .persistence import persist
from .settling import settle
from .telling import tell_settled

logger = logging.getLogger("django_retrytasks")

REVIEW_ENTRY = "django_retrytasks.announcements.review"
# Seconds of work to claim at once, and Tasks at most.
BATCH_SECONDS = 0.05
BATCH_LIMIT = 50
# A Task whose code a worker lacks, as an old one does in a deploy, is given back so often: for
# 1, 2, 4 and 8 seconds. After that it is an attempt like any other.
GIVE_BACKS = 4
# A worker woken in vain waits for a Task that comes due within so many seconds.
EARLY = 0.2
# Seconds for which to look for work while the database is away. A wake-up that then fails comes
# again only when django-q2's ``retry`` is over, or with the sweep.
CLAIM_PATIENCE = 15.0


def run(key: str, due: float | None = None) -> None:
    """Serve a wake-up: run due Tasks of the cluster ``key`` for about one slice.

    Args:
        key: the cluster's key.
        due: Unix time of the database's clock for which the wake-up was written; None: at once.
    """
    sessions.watch()
    until = time.monotonic() + conf.get().slice
    half = until - conf.get().slice / 2
    lookout = Lookout(key)
    worked = _run_batch(lookout) or (
        _wait_for_coming(key, lookout.seen, due) and _run_batch(lookout)
    )
    rung = False
    while worked and time.monotonic() < until:
        worked = _run_batch(lookout)
        if worked and not rung and time.monotonic() > half:
            # In time for the cluster to have the next wake-up at hand when this slice is over.
            rung = _ring_for_due(key, lookout)
    if worked:
        _ring_for_due(key, lookout, least=0 if rung else 1)


def run_inline(ids: Iterable[uuid.UUID]) -> None:
    """Run these Tasks, and those they enqueue, to their end in the calling process.

    Delays are skipped: a retry follows at once.
    """
    with lifecycle.running_inline(ids) as pending:
        while (claim := lifecycle.claim_inline(pending, worker=worker_name())).tasks:
            pending -= {task.pk for task in claim.tasks}
            Batch(claim, is_inline=True).run()


def sweep() -> None:
    """Run the sweep, and review what there is to alert about: what django-q2's Schedule calls."""
    try:
        lifecycle.sweep()
    finally:
        import_string(REVIEW_ENTRY)()


def _run_batch(lookout: Lookout) -> bool:
    """Claim due Tasks and run them; return whether there were any."""
    claim = _claim(lookout)
    if not claim.tasks:
        return False
    batch = Batch(claim)
    # A caller's transaction hides its rows from the heart, which has a connection of its own.
    is_hidden = connections[wakeups.alias()].in_atomic_block
    with nullcontext() if is_hidden else _heart.watching(batch):
        batch.run()
    return True


def _ring_for_due(key: str, lookout: Lookout, *, least: int = 1) -> bool:
    return persist(lambda: lookout.sees_due() and lifecycle.ring(key, least=least), _soon())


def _claim(lookout: Lookout) -> Claim:
    """Claim due Tasks; where a claim's commit went unanswered, see first whether it holds."""
    limit, worker, doubtful = _pace.limit, worker_name(), Claim()

    def act() -> Claim:
        nonlocal doubtful
        if doubtful.tasks and (claim := lifecycle.still_held(doubtful)).tasks:
            return claim
        try:
            return lookout.claim(limit, worker)
        except ClaimInDoubt as error:
            doubtful = error.claim
            raise

    return persist(act, _soon())


def _wait_for_coming(key: str, seen: Survey, due: float | None) -> bool:
    """Wait for a Task that comes due in a moment; ring again where the wake-up came far too early.

    A host whose clock is ahead of the database's is woken too early. Returns whether it waited.
    """
    if seen.at is None or seen.wait is None:
        return False
    if seen.wait <= EARLY:
        time.sleep(max(seen.wait, 0))
        return True
    if due is not None and (ahead := due - moments.as_instant(seen.at).timestamp()) > 0:
        wake = wakeups.later(ahead, datetime.fromtimestamp(due, UTC))
        persist(lambda: wakeups.ring(key, [wake]), _soon())
    return False


class Pace:
    """How many Tasks to claim at once: about 50 ms of work, going by recent run times."""

    def __init__(self) -> None:
        self._mean: float | None = None

    @property
    def limit(self) -> int:
        """Return how many Tasks to claim, 1 to 50; 1 until a run time is known."""
        if self._mean is None:
            return 1
        return max(1, min(BATCH_LIMIT, int(BATCH_SECONDS / max(self._mean, 1e-9))))

    def note(self, seconds: float) -> None:
        """Take into account that a Task ran for ``seconds``."""
        self._mean = seconds if self._mean is None else self._mean + (seconds - self._mean) / 5


class Batch:
    """The Tasks of one claim: those waiting, the one that runs, and endings not yet settled.

    Its Tasks are run by the worker's main thread. The heartbeat's thread may meanwhile settle what
    has ended and give back what still waits: one lock guards what they share, the other makes
    either wait for what the other is writing.

    Args:
        claim: the Tasks.
        is_inline: whether the calling process is no worker, and its connections not ours.
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
        self._untold: list[Settled] = []
        self._claimed_at = claim.at or timezone.now()
        self._claimed = self._started = self._beaten = time.monotonic()
        self._held = True

    def run(self) -> None:
        """Run every Task that waits, then settle."""
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
        """Return the database's time: that of the claim and what has passed since."""
        passed = timedelta(seconds=time.monotonic() - self._claimed)
        return moments.after(self._claimed_at, passed)

    def settle(self) -> None:
        """Settle the endings that are not yet, and tell the world about them."""
        self._record(self._until())
        with self._lock:
            untold, self._untold = self._untold, []
        callers = sessions.in_transaction()
        for settled in untold:
            run_in_copy(self._context, tell_settled, settled)
        sessions.tidy(callers, interrupted=False, is_own=not self._is_inline)

    def _record(self, until: float) -> None:
        """Settle the endings that are not yet: to be told of by the main thread alone, for what
        hangs in a receiver must not stop the heart."""
        with self._writing:
            with self._lock:
                endings = list(self._endings)
            if not endings:
                return
            for dealt_with, settled in settle(endings, until):
                with self._lock:
                    del self._endings[: len(dealt_with)]
                    self._untold += settled

    def _until(self) -> float:
        """Return until when to try to record what became of a Task, by the monotonic clock.

        It is the end of the lease, for after that it is refused. The lease of a Task that is run
        inline is longer than anyone would wait.
        """
        lease = conf.get().lease
        return min(max(self._ends_at, self._beaten + lease), time.monotonic() + lease)

    def beat(self) -> None:
        """Extend the lease of a Task that runs long; do not let its neighbours wait for it.

        Each is tried once, for the next beat tries again: none is to keep another waiting.
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
                # This process was frozen: another worker may hold them now, or finds them lapsed.
                self._waiting.clear()
            self._running = self._waiting.popleft() if self._waiting else None
            self._started = time.monotonic()
        return self._running

    def _finish(self, ending: Ending) -> None:
        _pace.note(time.monotonic() - self._started)
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
        """Give back Tasks whose last worker died before it is known to have started them."""
        suspects = [task for task in self._waiting if task.lapsed and not task.was_started]
        if suspects:
            self._waiting = deque(task for task in self._waiting if task not in suspects)
            persist(lambda: lifecycle.release(suspects, suspect=True), self._until())

    def _lease_is_old(self) -> bool:
        unbeaten = self._beaten < self._started
        return unbeaten or time.monotonic() - self._beaten > conf.get().lease / 4


_pace = Pace()
_heart = Heart()


def _soon() -> float:
    """Return until when to look for work while the database is away, by the monotonic clock."""
    return time.monotonic() + CLAIM_PATIENCE


def _is_hung(task: Task, seconds: float) -> bool:
    """Whether a Task is so far past its timeout that its worker must be taken for dead."""
    return task.timeout is not None and seconds > task.timeout + wakeups.GRACE
