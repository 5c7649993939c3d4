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
from .rows import by_pk
from .waking import wake_for

Options = ParamSpec("Options")

WAITING = (Status.PENDING, Status.RETRYING)


Change = tuple[Mapping[str, Any], wakeups.Wake | None]
"""What is written to each Task, and when to wake a cluster for it; None: it does not wait."""


@dataclass(frozen=True)
class Act(Generic[Options]):
    """What an operator may do to Tasks. Called with ids, it changes them and returns how many.

    Tasks of another status than those it ``changes`` are left alone. ``done`` is its word for
    logs and reports, such as "re-driven".
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
        """Change Tasks, and ring for those that wait; return those changed, as they were."""
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
    """Make an act of a function that decides what is written; see :class:`Act`."""
    return lambda decide: Act(decide, done, changes)


@act("re-driven", Status.FAILED)
def redrive(*, arguments: tuple[str, str] | None = None) -> Change:
    """Run failed Tasks again, ids and attempts kept, the retries anew; return how many.

    ``arguments``, as texts of the codec, take the place of their own.
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
    """Have waiting Tasks run at once, not when their countdown is over; return how many."""
    return _due_at(), wakeups.now()


@act("snoozed", *WAITING)
def snooze(countdown: Duration) -> Change:
    """Have waiting Tasks wait for ``countdown`` seconds from now, uncharged; return how many.

    Raises:
        TypeError, ValueError: ``countdown`` is no duration from 0 to 366 days.
    """
    wait = timedelta(seconds=as_seconds("countdown", countdown))
    moment = moments.after(timezone.now(), wait)
    return _due_at(wait), wakeups.Wake(moment, moment)


@act("discarded", *WAITING, Status.FAILED)
def discard() -> Change:
    """Drop Tasks that wait or have failed, not those that run; return how many."""
    return _dropped()


@act("cancelled", *WAITING, Status.RUNNING)
def cancel() -> Change:
    """Drop Tasks that wait or run; return how many.

    The function of one that runs is not interrupted: it goes on to its end, and what comes of it
    is refused. An Attempt is written for a run that is known to have begun.
    """
    return _dropped()


def _record_cancelled(running: Sequence[Task]) -> None:
    """Write the Attempts of runs whose end is not waited for."""
    cancelled = [
        Attempt(
            task_id=task.pk,
            number=task.attempt_count + 1,
            outcome=Attempt.Outcome.CANCELLED,
            retry_count=task.retry_count,
            queued_at=task.queued_at,
            started_at=task.last_attempted_at or DatabaseNow(),
            finished_at=DatabaseNow(),
            worker=task.worker,
            decision="cancelled",
        )
        for task in running
    ]
    Attempt.objects.bulk_create(cancelled)
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
