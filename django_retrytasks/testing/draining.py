"""Run stored Tasks in the test's own process and connection, through the worker's own code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol
from unittest.mock import patch

from django_retrytasks import lifecycle, worker
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Attempt, Task
from django_retrytasks.values.checked import Duration, as_count, as_seconds
from django_retrytasks.values.contract import Task as ContractTask
from django_retrytasks.values.contract import TaskResult

from .advancing import advance, seconds_to, seconds_to_next
from .stored import Stored, refuse_storeless_site, row_of
from .timelines import headline, timeline

__unittest = True  # unittest leaves the frames of this module out of a failure

Until = Stored | Callable[[], object] | Duration | datetime
"""How far to drain; see :func:`drain`."""

LIMIT = 500
# The least time that passes between two looks for due Tasks.
TICK = 0.001
# An error names so many Tasks.
NAMED = 3


class NotDrained(AssertionError):
    """Tasks run on and on, or nothing is left to run before the goal is reached."""


def drain(
    until: Until | None = None, *, limit: int = LIMIT, send_alerts: bool = False
) -> list[Attempt]:
    """Run Tasks in this process, on the test's own connection; return their Attempts in order.

    It runs what is due, and what becomes due by that, announcements of failures and alerts too.
    Then ``until`` decides: while it is not reached, time passes to the next due moment, as by
    :func:`advance`, and what is due then runs.

    Args:
        until: None: no time passes. A Task's row or result: until that Task is finished. A callable
            without arguments: until it returns a true value. Seconds (int, float) or a timedelta,
            at most 366 days: until so much time has passed. A datetime: until that moment.
        limit: at most so many attempts, those of internal Tasks included.
        send_alerts: whether sinks send alerts, and Sentry its events; otherwise only the log does.

    Returns the Attempts without those of internal Tasks.

    Raises:
        NotDrained: Tasks are due after ``limit`` attempts; or no Task waits, and ``until`` is not
            reached.
        AssertionError: the site's backends store no rows.
        TypeError, ValueError: ``until`` or ``limit`` is none of these.
    """
    __tracebackhide__ = True
    goal, run = _goal(until), _Run(as_count("limit", limit, least=1))
    with alerting(send_alerts):
        run.all_due()
        while not goal.is_reached():
            goal.come_nearer()
            run.all_due()
    if not run.tasks:
        refuse_storeless_site()
    return run.attempts()


def step(*, send_alerts: bool = False) -> Attempt | None:
    """Run one attempt of the first due Task, as by :func:`drain`; None: none is due.

    Internal Tasks that are due before it run too, and are not returned.
    """
    run = _Run(LIMIT)
    with alerting(send_alerts):
        while (task := run.next()) and task.internal:
            pass
    if not run.tasks:
        refuse_storeless_site()
    return next(iter(run.attempts()), None)


def sweep() -> None:
    """Do what the sweep of a cluster does each minute.

    It enqueues the alerts that time makes due, such as that of a recovery, and prunes old Tasks.
    """
    with lifecycle.running_inline(()):
        worker.sweep()


class _Run:
    """The Tasks that one drain has run, at most ``limit``."""

    def __init__(self, limit: int) -> None:
        self.tasks: list[Task] = []
        self._limit = limit
        self._rounds = 0

    def next(self) -> Task | None:
        """Run the first due Task; return it, or None if none is due."""
        task = worker.run_next()
        if task is not None:
            self.tasks.append(task)
        return task

    def all_due(self) -> None:
        """Run all due Tasks, and the Tasks that these make due."""
        __tracebackhide__ = True
        self._rounds += 1
        while self._has_room() and self.next():
            pass

    def _has_room(self) -> bool:
        __tracebackhide__ = True
        # Rounds count too: a Task that is due may be locked by another session.
        if len(self.tasks) < self._limit and self._rounds <= self._limit:
            return True
        if seconds_to_next() != 0:
            return False
        raise NotDrained(self._too_many())

    def attempts(self) -> list[Attempt]:
        """Return the Attempts of the site's own Tasks, in the order they ran."""
        # A Task that was given back has the claim's token here, and no new attempt.
        ran = [(t.pk, t.attempt_count) for t in self.tasks if not (t.internal or t.claim_token)]
        rows = Attempt.objects.select_related("task").filter(task__in={pk for pk, _ in ran})
        found = {(row.task_id, row.number): row for row in rows}
        return [found[key] for key in ran if key in found]

    def _too_many(self) -> str:
        counts = Counter(task.name for task in self.tasks)
        lines = [self._ran(name, count) for name, count in counts.most_common(NAMED)]
        return "\n".join(
            [
                f"Tasks are still due after {len(self.tasks)} attempts. Does one snooze for ever, "
                "or enqueue another without end? If not, give a larger limit. Most attempts:",
                *lines,
            ]
        )

    def _ran(self, name: str, count: int) -> str:
        same = [task for task in self.tasks if task.name == name]
        tasks = len({task.pk for task in same})
        return f"  {name}: {count} attempts of {tasks} Tasks, the last one of {headline(same[-1])}"


class _Goal(Protocol):
    """What ``until`` says."""

    def is_reached(self) -> bool: ...

    def come_nearer(self) -> None:
        """Let time pass."""


class _NoTime:
    """No time passes."""

    def is_reached(self) -> bool:
        return True

    def come_nearer(self) -> None: ...


@dataclass
class _Time:
    """So many seconds pass."""

    left: float

    def is_reached(self) -> bool:
        return self.left <= 0

    def come_nearer(self) -> None:
        wait = seconds_to_next()
        passed = self.left if wait is None else min(self.left, max(wait, TICK))
        self.left -= advance(passed)


@dataclass
class _Condition:
    """Time passes until a condition holds."""

    holds: Callable[[], object]
    why_not: Callable[[], str]

    def is_reached(self) -> bool:
        return bool(self.holds())

    def come_nearer(self) -> None:
        __tracebackhide__ = True
        wait = seconds_to_next()
        if wait is None:
            raise NotDrained(self.why_not())
        advance(max(wait, TICK))


def _goal(until: Any) -> _Goal:
    match until:
        case None:
            return _NoTime()
        case datetime():
            return _Time(seconds_to(until))
        case int() | float() | timedelta():
            return _Time(as_seconds("until", until))
        case Task() | TaskResult():
            row = row_of(until)
            why_not = partial(_why_unfinished, row)
            return _Condition(lambda: row_of(row).is_finished, why_not)
        case _ if callable(until) and not isinstance(until, ContractTask):
            return _Condition(until, lambda: f"no Task waits any more, and {until!r} is not true")
    raise TypeError(
        "until must be a Task's row or the result of its enqueue, a callable without arguments, "
        f"seconds, a timedelta or a datetime, not {until!r}"
    )


def _why_unfinished(task: Task) -> str:
    return f"no Task waits any more, and this one is not finished:\n{timeline(task)}"


@contextmanager
def alerting(send_alerts: bool) -> Iterator[None]:
    """Have no alert sent, and no event of Sentry, unless ``send_alerts``."""
    if send_alerts:
        yield
        return
    with patch.multiple(RetryTasksBackend, sends_alerts=False, send_alert=_send_nothing):
        yield


def _send_nothing(*args: object, **kwargs: object) -> None:
    """Stand in for `RetryTasksBackend.send_alert`: the alert's Task says what was due."""
