"""One attempt: call the function within its timeout, and return its ending."""

from __future__ import annotations

import logging
import math
import time
import traceback
from asyncio import CancelledError
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from functools import cached_property, partial
from types import TracebackType
from typing import Any, NoReturn

from django_retrytasks.errors.causes import cut_earlier_raises, is_a, linked, traceback_of
from django_retrytasks.errors.reports import class_path
from django_retrytasks.exceptions import AttemptTimedOut, Cancelled, NotATask, NotImportable
from django_retrytasks.health import logs
from django_retrytasks.lifecycle import Ending
from django_retrytasks.models import Task, Unreadable
from django_retrytasks.policy import Breaker, FailureKind
from django_retrytasks.tasks import RetryTask, tracing
from django_retrytasks.tasks.context import RetryTaskContext
from django_retrytasks.tasks.results import result_of
from django_retrytasks.tasks.stored import resolve_stored

from . import sessions
from .around import surrounded
from .deciding import Decider
from .stopping import Stop
from .telling import tell_started
from .timeouts import briefly_or, call_beside_others, call_briefly, call_within

logger = logging.getLogger("django_retrytasks")

INTERRUPTS = (AttemptTimedOut, Cancelled)

Prepared = tuple[Callable[..., Any], list[Any], dict[str, Any]]
"""A function, and its positional and keyword arguments."""


class Leavings:
    """What an attempt leaves behind: the frames of its failure, and its connections.

    Args:
        task: its Task.
        callers: aliases of connections to leave alone.
        is_own: whether the connections belong to the worker.

    Attributes:
        raised: the failure whose frames are not freed yet; None: there is none.
    """

    def __init__(self, task: Task, callers: Collection[str], *, is_own: bool) -> None:
        self.raised: BaseException | None = None
        self._task = task
        self._callers = callers
        self._is_own = is_own

    def clear(self) -> None:
        """Free the frames, and tidy the connections, before other code uses them."""
        raised, self.raised = self.raised, None
        interrupted = False
        if raised is not None:
            interrupted = any(is_a(one, INTERRUPTS) for one in linked(raised))
            briefly_or(self._not_freed, partial(_clear_frames, raised))
        sessions.tidy(self._callers, interrupted=interrupted, is_own=self._is_own)

    def _not_freed(self, error: BaseException) -> None:
        words = "Task %s: the frames of its failure could not be freed: %s"
        logger.warning(words, self._task.pk, class_path(type(error)))


class AttemptRun:
    """One attempt: call the function, and return its ending, which a Decider decides.

    :meth:`ending` does all of it. An attempt that runs beside others is begun, called and ended by
    :meth:`begin`, :meth:`call` and :meth:`ended`.

    Args:
        task: the Task, under a claim.
        now: the database's time.
        is_inline: whether the connections are the caller's, which must stay as they are.
        callers: aliases of the connections in a caller's transaction; None: those of now.

    Attributes:
        has_thread: whether its function, beside others, uses a thread of its own, with connections.
    """

    def __init__(
        self,
        task: Task,
        now: Callable[[], datetime],
        *,
        is_inline: bool = False,
        callers: Collection[str] | None = None,
    ) -> None:
        self.task = task
        self._callers = sessions.in_transaction() if callers is None else callers
        self._leavings = Leavings(task, self._callers, is_own=not is_inline)
        self._decider = Decider(task, now, self._leavings.clear)
        self._stop = Stop()
        self._began = time.monotonic()
        self._cancelled = math.inf
        self.has_thread = False
        self._trace: TracebackType | None = None

    @property
    def lacks_code(self) -> bool:
        """Whether this worker lacks the code for the Task's call."""
        stored = (self.task.args, self.task.kwargs)
        if self.task.lapsed or any(isinstance(each, Unreadable) for each in stored):
            return False
        try:
            signature = self._resolved().signature
            self._decider.bound = signature.bind(*self.task.args, **self.task.kwargs)
        except (NotImportable, NotATask, TypeError):
            return True
        return False

    @property
    def concurrency(self) -> int:
        """Return how many Tasks of the function may run together, once its code is found."""
        definition = self._decider.definition
        return definition.concurrency if definition else 1

    @property
    def breaker(self) -> Breaker | None:
        """Return the breaker of the function, once its code is found; None: it has none."""
        definition = self._decider.definition
        return definition.breaker if definition else None

    @property
    def seconds_left(self) -> float:
        """Return the seconds until its timeout or cancel, below 0 after it; infinity without."""
        limit = math.inf if self.task.timeout is None else self._began + self.task.timeout
        return min(limit, self._cancelled) - time.monotonic()

    @property
    def interruption(self) -> BaseException:
        """Return the exception for a function that blocks its loop, beyond its time."""
        if self._cancelled < math.inf:
            return Cancelled(self.task.stop_note)
        return AttemptTimedOut(self.task.timeout or 0)

    def cancel(self) -> bool:
        """Interrupt the function, from any thread, as its Task was cancelled; again at each call.

        Return whether the function takes that.
        """
        definition = self._decider.definition
        if definition is None or not definition.interruptible:
            return False
        self._cancelled = min(self._cancelled, time.monotonic())
        self._stop.want(self.task.stop_note)
        return True

    def ending(self) -> Ending:
        """Run the attempt and return its ending; raise nothing but KeyboardInterrupt."""
        return self._safely(self._lost if self.task.lapsed else self._run)

    def begin(self) -> None:
        """Tell of the start of an attempt that runs beside others; its code must be found."""
        tell_started(self.task, self._resolved())

    async def call(self) -> Callable[[], Any] | None:
        """Call the function within its timeout, beside others on one event loop.

        Return the outcome, a callable that returns the function's value or raises its exception;
        None: it was cancelled, perhaps by another one.
        """
        self._name_in_logs()
        func, args, kwargs = self._prepared(self._resolved())
        outcome = None
        try:
            with self._traced(None):
                value = await call_beside_others(
                    self.task.timeout, self._stop, func, *args, **kwargs
                )
            return lambda: value
        except CancelledError:
            pass
        except BaseException as error:
            self._note_raise(error)
            outcome = partial(_raise, error)
        self.has_thread = True  # perhaps: its code there may still run
        return outcome

    def ended(self, outcome: Callable[[], Any]) -> Ending:
        """Return the ending for the outcome of a call; raise nothing but KeyboardInterrupt."""
        return self._safely(partial(self._ended, outcome))

    def _name_in_logs(self) -> None:
        logs.about(self.task, self.task.attempt_count + 1)

    def _resolved(self) -> RetryTask[..., Any]:
        """Return the task's definition; raise NotImportable or NotATask without its code."""
        decider = self._decider
        decider.definition = decider.definition or resolve_stored(self.task)
        return decider.definition

    def _safely(self, end: Callable[[], Ending]) -> Ending:
        self._name_in_logs()
        try:
            ending = end()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            # The exception itself is broken, such as a Discard without its attributes.
            ending = self._decider.failed(error, FailureKind.RAISED)
        self._leavings.clear()
        return ending

    def _run(self) -> Ending:
        try:
            definition = self._resolved()
        except (NotImportable, NotATask) as error:
            return self._decider.failed(error, FailureKind.NOT_IMPORTABLE)
        tell_started(self.task, definition)
        return self._ended(partial(self._call, definition))

    def _lost(self) -> Ending:
        with suppress(NotImportable, NotATask):
            self._resolved()
        return self._decider.lost()

    def _ended(self, outcome: Callable[[], Any]) -> Ending:
        try:
            value = outcome()
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            if self._trace is None:
                self._note_raise(error)
            self._leavings.raised = BaseException.with_traceback(error, self._trace)
            return self._decider.raised(error)
        return self._decider.succeeded(value)

    def _note_raise(self, error: BaseException) -> None:
        """Keep the traceback: other attempts may raise the same instance before this one ends."""
        cut_earlier_raises(error, AttemptRun.call.__code__, AttemptRun._ended.__code__)
        self._trace = traceback_of(error)

    def _call(self, definition: RetryTask[..., Any]) -> Any:
        func, args, kwargs = self._prepared(definition)
        with sessions.mending_transactions(self._callers), self._traced(call_briefly):
            return call_within(self.task.timeout, self._stop, func, *args, **kwargs)

    def _traced(self, call: Any) -> AbstractContextManager[None]:
        return nullcontext() if self.task.internal else tracing.attempt(self.task, call)

    def _prepared(self, definition: RetryTask[..., Any]) -> Prepared:
        """Return what to call, and its arguments."""
        func, args, kwargs = definition.func, list(self.task.args), dict(self.task.kwargs)
        if any(isinstance(each, dict | list) for each in (*args, *kwargs.values())):
            _ = self._decider.secrets  # read now: the function may change its arguments
        if not self.task.internal:
            func = surrounded(func, lambda: self._context)
        if definition.wants_context:
            args.insert(0, self._context)
        return func, args, kwargs

    @cached_property
    def _context(self) -> RetryTaskContext:
        read = partial(result_of, self.task, self._resolved())
        return RetryTaskContext(row=self.task, read=read, secrets=lambda: self._decider.secrets)


def _raise(error: BaseException) -> NoReturn:
    raise error


def _clear_frames(error: BaseException) -> None:
    """Free the locals of a failure's frames, such as a generator with an open transaction."""
    for one in linked(error):
        traceback.clear_frames(traceback_of(one))
