"""Traces: the tools that make spans of enqueues and attempts connect here.

A tracer is foreign code: its errors are logged, and cost no Task anything.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing.util import Finalize
from typing import Any, Protocol, TypeVar

from django_retrytasks.errors.causes import is_a
from django_retrytasks.errors.reports import class_path
from django_retrytasks.exceptions import Cancelled, Retry
from django_retrytasks.models import Task
from django_retrytasks.policy.steering import steering_of

T = TypeVar("T")
End = Callable[[BaseException | None], None]
"""Ends a span, given the failure of its body; None: there was none."""

logger = logging.getLogger("django_retrytasks")


class Tracer(Protocol):
    """Makes spans. They hold no argument, no message and no traceback."""

    def begin_enqueue(
        self, task: Any, rows: Sequence[Task] | None
    ) -> tuple[Mapping[str, str], End]:
        """Begin the span of an enqueue; return the headers for its Tasks to carry, and its end.

        Args:
            task: the RetryTask.
            rows: the new rows; None: they are made while they are stored.
        """

    def begin_attempt(self, row: Task) -> End:
        """Begin the span of a Task's next attempt, in the trace of its headers; return its end."""


_tracers: dict[str, Tracer] = {}


def connect(name: str, tracer: Tracer | None) -> None:
    """Let a tracer make spans from now on, in place of another of its name; None: let none."""
    _tracers.pop(name, None)
    if tracer is not None:
        _tracers[name] = tracer


def at_end_of_worker(send: Callable[[], object]) -> None:
    """Have this process call ``send`` once at its end, however often this is asked.

    Workers are ``multiprocessing`` processes, in which ``atexit`` does nothing.
    """
    _finalizer(os.getpid(), send)


@cache
def _finalizer(pid: int, send: Callable[[], object]) -> Finalize:
    return Finalize(None, send, exitpriority=0)


def store(task: Any, rows: Iterable[Task], act: Callable[[Iterable[Task]], T]) -> T:
    """Store new rows by ``act``; if anybody traces, in spans, whose trace each row carries.

    Return the answer of ``act``.
    """
    if not _tracers:
        return act(rows)
    known = rows if isinstance(rows, Sequence) else None
    begun = [_quietly(partial(each.begin_enqueue, task, known)) for each in _tracers.values()]
    headers = {key: text for one in begun if one for key, text in one[0].items()}
    with _ended([one[1] for one in begun if one], _plainly):
        return act(_carrying(rows, headers) if headers else rows)


@contextmanager
def attempt(row: Task, call: Callable[[Callable[[], T]], T] | None = None) -> Iterator[None]:
    """Make spans of the body, a Task's next attempt.

    Args:
        row: the Task.
        call: calls foreign code, within a time limit; None: without one.
    """
    if not _tracers:
        yield
        return
    limited: Any = call or _plainly
    begun = [_quietly(partial(t.begin_attempt, row), limited) for t in _tracers.values()]
    with _ended([end for end in begun if end], limited):
        yield


def headers_of(row: Task) -> dict[str, str]:
    """Return the headers that a Task carries; of a value written by hand, what can be one."""
    stored = row.trace if isinstance(row.trace, dict) else {}
    return {name: text for name, text in stored.items() if isinstance(text, str)}


def _carrying(rows: Iterable[Task], headers: dict[str, str]) -> Iterable[Task]:
    def carrying(row: Task) -> Task:
        row.trace = headers
        return row

    carried = map(carrying, rows)
    return list(carried) if isinstance(rows, Sequence) else carried


@contextmanager
def _ended(ends: Sequence[End], call: Callable[[Callable[[], Any]], Any]) -> Iterator[None]:
    """End spans after the body, the last one first."""
    failure = None
    try:
        yield
    except BaseException as error:
        failure = _quietly(partial(_failure_in, error)) if ends else None
        raise
    finally:
        for end in reversed(ends):
            _quietly(partial(end, failure), call)


def _failure_in(error: BaseException) -> BaseException | None:
    """Return the exception that an attempt fails by; None for a Snooze, Discard or Cancelled."""
    steering = steering_of(error)
    if steering is None:
        return None if is_a(error, Cancelled) else error
    return steering.cause if is_a(steering, Retry) else None


def _quietly(act: Callable[[], T], call: Callable[[Callable[[], T]], T] | None = None) -> T | None:
    """Call foreign code; on an exception log its class, and return None."""
    try:
        return (call or _plainly)(act)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        logger.warning("A trace is incomplete: %s", class_path(type(error)))
    return None


def _plainly(act: Callable[[], T]) -> T:
    return act()
