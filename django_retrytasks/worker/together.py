"""Run attempts of one ``async def`` function together, on one event loop.

The loop runs in the main thread until a function has ended. Then it stands, and that attempt is
ended by the same steps as one that ran alone.

A function may cancel others, or break the loop. An attempt that this may have ended is not charged:
its Task is given back as suspect, and then runs alone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db.backends.signals import connection_created

from django_retrytasks.broker import clusters
from django_retrytasks.lifecycle import Ending
from django_retrytasks.lifecycle.log import log_transition
from django_retrytasks.models import Task

from . import sessions
from .attempt import AttemptRun
from .heart import PATIENCE
from .isolation import own_decimals, run_in_copy
from .timeouts import BRIEF, INTERRUPT_AGAIN, briefly_or, guarded, with_timer

logger = logging.getLogger("django_retrytasks")

# Seconds between two signs that the loop turns.
SIGN = 0.2
# The attempt whose code runs; the asyncio tasks that it creates inherit it.
_own: ContextVar[AttemptRun | None] = ContextVar("own", default=None)


def _note_connection(**details: Any) -> None:
    run = _own.get()
    if run is not None:
        run.has_thread = True


class Together:
    """Attempts of one function that run together.

    Args:
        more: returns another attempt to run; None: there is none.
        finish: accepts the ending of an attempt.
        suspect: accepts a Task whose attempt did not end by itself.
        between: called whenever the loop stands.
    """

    def __init__(
        self,
        more: Callable[[], AttemptRun | None],
        finish: Callable[[Ending], None],
        suspect: Callable[[Task], None],
        between: Callable[[], None],
    ) -> None:
        connection_created.connect(_note_connection)
        self._more = more
        self._finish = finish
        self._suspect = suspect
        self._between = between
        self._loop = asyncio.new_event_loop()
        self._loop.set_task_factory(self._make_task)
        self._running: dict[asyncio.Task[Any], tuple[AttemptRun, Context]] = {}
        self._owners: WeakKeyDictionary[asyncio.Task[Any], AttemptRun] = WeakKeyDictionary()
        self._handled: AttemptRun | None = None
        self._named: set[AttemptRun] = set()
        self._seen_by_signal: AttemptRun | None = None
        self._turned = time.monotonic()
        self._over_since = math.inf
        self._interrupt: KeyboardInterrupt | None = None
        self._is_broken = False

    def run(self, first: AttemptRun) -> None:
        """Run an attempt, and beside it as many others as its function allows.

        Raises:
            KeyboardInterrupt: a function, or the process, was interrupted. The others have ended.
        """
        try:
            self._sign()
            self._begin(first)
            self._fill(first.concurrency)
            while self._running and not self._is_broken:
                self._turn()
                self._end_done()
                self._between()
                self._fill(first.concurrency)
        finally:
            try:
                self._close()
            finally:
                for run, _ in self._running.values():
                    self._suspect(run.task)
        if self._interrupt:
            raise self._interrupt

    def watch(self) -> None:
        """Name a function that blocks the loop; if it is beyond help, let the worker be ended.

        The heart's thread calls this about once a second.
        """
        if time.monotonic() - self._turned < PATIENCE:
            return
        stepping = self._stepping()
        run = self._handled or stepping
        if run is not None and run not in self._named:
            self._named.add(run)
            log_transition(logging.WARNING, "blocks its event loop, others wait", run.task)
        if stepping is not None and stepping.seconds_left < -clusters.GRACE:
            clusters.set_guard(0)

    def stop(self) -> None:
        """Let the loop stand soon, from any thread."""
        with suppress(RuntimeError):  # it is closed
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _begin(self, run: AttemptRun) -> None:
        context = copy_context()
        with self._handling(run):
            run_in_copy(context, run.begin)
            task = self._make_task(self._loop, self._call(run), context=context)
            task.add_done_callback(lambda _: self._loop.stop())
            self._owners[task] = run
            self._running[task] = run, context

    def _fill(self, limit: int) -> None:
        while len(self._running) < limit and not (self._is_broken or self._interrupt):
            run = self._more()
            if run is None:
                return
            self._begin(run)

    def _turn(self) -> None:
        """Run the loop until a function ends, or somebody stops it."""
        try:
            with guarded(self._left()):
                with_timer(INTERRUPT_AGAIN, self._interrupt_blocker, self._loop.run_forever)
        except SystemExit:
            pass  # The asyncio task that raised it has ended; the others can go on.
        except KeyboardInterrupt as error:
            if self._interrupt:
                raise
            self._interrupt = error
        except Exception:
            self._break()

    def _left(self) -> float | None:
        """Return the seconds until the time of all functions is over; None: it never is.

        It is below 0 after that, since the first turn then: one before may have stood still.
        """
        left = max(run.seconds_left for run, _ in self._running.values())
        if left > 0:
            self._over_since = math.inf
            return None if left == math.inf else left
        now = time.monotonic()
        self._over_since = min(self._over_since, now)
        return self._over_since - now

    def _end_done(self) -> None:
        for task in [task for task in self._running if task.done()]:
            run, context = self._running.pop(task)
            with self._handling(run):
                outcome = None if task.cancelled() or task.exception() else task.result()
                if outcome is None:
                    self._suspect(run.task)
                else:
                    self._finish(run_in_copy(context, run.ended, outcome))

    @contextmanager
    def _handling(self, run: AttemptRun) -> Iterator[None]:
        """Hold a KeyboardInterrupt until the others have ended; its attempt is not charged.

        Another exception comes from a broken loop.
        """
        self._handled = run
        try:
            yield
        except KeyboardInterrupt as error:
            self._interrupt = error
            self._suspect(run.task)
        except Exception:
            self._break()
            self._suspect(run.task)
        finally:
            self._handled = None

    def _break(self) -> None:
        logger.warning("An event loop is broken: its Tasks will run alone", exc_info=True)
        self._is_broken = True

    async def _call(self, run: AttemptRun) -> Callable[[], Any] | None:
        _own.set(run)
        # Its synchronous code runs in a thread of its own, with connections of its own.
        with own_decimals():
            async with ThreadSensitiveContext():
                outcome = await run.call()
                _own.set(None)  # it has ended: no signal may interrupt it any more
                await self._clear_away(run)
        return outcome

    async def _clear_away(self, run: AttemptRun) -> None:
        """End the asyncio tasks that a function left; wait for its thread, close its connections.

        The wait must not be that of the context's end, which may stop the loop.
        """
        own = asyncio.current_task()
        tasks = [task for task, owner in list(self._owners.items()) if owner is run]
        left = [task for task in tasks if task is not own and not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=BRIEF)
        if run.has_thread or left:
            await sync_to_async(sessions.end)()

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, code: Coroutine[Any, Any, Any], **options: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(code, loop=loop, **options)
        owner = _own.get()
        if owner is not None:
            self._owners[task] = owner
        return task

    def _stepping(self) -> AttemptRun | None:
        """Return the attempt whose code the loop runs; None if it runs none."""
        task = asyncio.current_task(self._loop)
        return None if task is None else self._owners.get(task)

    def _interrupt_blocker(self, signum: int, frame: Any) -> None:
        """Interrupt a function that blocks the loop, where asyncio cannot, beyond its time."""
        before, self._seen_by_signal = self._seen_by_signal, None
        if frame is None or frame.f_globals.get("__name__", "").startswith("asyncio."):
            return  # it would harm the loop; the next signal comes in a second
        self._seen_by_signal = run = _own.get()
        # Not a function that has just gone on after another one blocked the loop.
        if run is not None and run is before and run.seconds_left < -INTERRUPT_AGAIN:
            raise run.interruption

    def _sign(self) -> None:
        self._turned = time.monotonic()
        self._loop.call_later(SIGN, self._sign)

    def _close(self) -> None:
        """Close the loop; what is left on it, and refuses to end, is left behind."""
        if not self._loop.is_closed():
            briefly_or(lambda error: None, self._end_left)
        with suppress(Exception):
            self._loop.close()

    def _end_left(self) -> None:
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=BRIEF))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
