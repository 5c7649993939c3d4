"""What operators do to Tasks: re-drive, run now, snooze, discard, cancel."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, ParamSpec

from django.db.models import F
from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import Attempt, Encoded, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import moments
from django_retrytasks.values.checked import Duration, as_seconds
from django_retrytasks.values.ids import as_ids

from .log import log_all
from .rows import by_pk, store_attempts
from .waking import wake_for

Options = ParamSpec("Options")

WAITING = (Status.PENDING, Status.RETRYING)


Change = tuple[Mapping[str, Any], wakeups.Wake | None]
"""The new values of each Task, and when to wake a cluster for it; None: no wake-up."""


@dataclass(frozen=True)
class Act(Generic[Options]):
    """A verb of operators: a call with ids changes Tasks and returns their number.

    Attributes:
        decide: returns the new values and the wake, from the verb's options.
        done: the word for logs and reports, such as "re-driven".
        changes: the statuses in which a Task changes; in another status it is skipped.
    """

    decide: Callable[Options, Change]
    done: str
    changes: tuple[Status, ...]

    def __call__(
        self, ids: Iterable[uuid.UUID], *args: Options.args, **options: Options.kwargs
    ) -> int:
        return len(self.change(ids, *args, **options))

    def change(
        self, ids: Iterable[uuid.UUID], *args: Options.args, **options: Options.kwargs
    ) -> list[Task]:
        """Change Tasks and write wake-ups; return the changed Tasks as they were before."""
        pks = as_ids(ids)
        values, wake = self.decide(*args, **options)
        with writing():
            rows = Task.objects.filter(pk__in=pks, status__in=self.changes)
            tasks = list(rows.select_for_update().order_by("pk"))
            _record_cancelled([task for task in tasks if task.was_started])
            by_pk(tasks).update(**values)
            if wake:
                wake_for([(task, wake) for task in tasks])
        log_all(logging.INFO, self.done, tasks)
        return tasks


def act(done: str, *changes: Status) -> Callable[[Callable[Options, Change]], Act[Options]]:
    """Make a function that decides new values an act; see :class:`Act`."""
    return lambda decide: Act(decide, done, changes)


@act("re-driven", Status.FAILED)
def redrive(*, arguments: tuple[str, str] | None = None) -> Change:
    """Run failed Tasks again: they keep ids and attempts, and get all retries anew.

    ``arguments``, two texts of the codec, replace the Tasks' own. The search key stays.
    """
    values: dict[str, Any] = {
        "status": Status.PENDING,
        "stop_reason": "",
        "retry_count": 0,
        "crash_count": 0,
        "given_back_count": 0,
        "started_at": None,
        "finished_at": None,
    }
    if arguments:
        values |= zip(("args", "kwargs"), map(Encoded, arguments), strict=True)
    return values | _due_at(), wakeups.now()


@act("made due", *WAITING)
def run_now() -> Change:
    """Run waiting Tasks at once, without waiting for their countdown."""
    return _due_at(), wakeups.now()


@act("snoozed", *WAITING)
def snooze(countdown: Duration) -> Change:
    """Make waiting Tasks due in ``countdown`` seconds from now; no retry is spent.

    Raises:
        TypeError, ValueError: ``countdown`` is no duration from 0 to 366 days.
    """
    wait = timedelta(seconds=as_seconds("countdown", countdown))
    moment = moments.after(timezone.now(), wait)
    return _due_at(wait), wakeups.Wake(moment, moment)


@act("discarded", *WAITING, Status.FAILED)
def discard() -> Change:
    """Drop waiting and failed Tasks."""
    return _dropped()


@act("cancelled", *WAITING, Status.RUNNING)
def cancel() -> Change:
    """Drop waiting and running Tasks.

    A running function is not interrupted, but its outcome is refused. A run with a known start gets
    an Attempt.
    """
    return _dropped()


def _record_cancelled(running: Sequence[Task]) -> None:
    """Write the Attempts of cancelled runs."""
    cancelled = [
        {
            "task_id": task.pk,
            "number": task.attempt_count + 1,
            "outcome": Attempt.Outcome.CANCELLED,
            "retry_count": task.retry_count,
            "queued_at": task.queued_at,
            "started_at": task.last_attempted_at or DatabaseNow(),
            "finished_at": DatabaseNow(),
            "worker": task.worker,
            "decision": "cancelled",
        }
        for task in running
    ]
    store_attempts(cancelled)
    by_pk(running).update(attempt_count=F("attempt_count") + 1)


def _due_at(wait: timedelta = moments.ZERO) -> dict[str, Any]:
    moment = DatabaseNow.after(wait)
    return {"run_after": moment, "queued_at": moment}


def _dropped() -> Change:
    values = {
        "status": Status.DISCARDED,
        "stop_reason": StopReason.DISCARDED,
        "run_after": None,
        "finished_at": DatabaseNow(),
        "wakeup_id": None,
        "claim_token": None,
    }
    return values, None
