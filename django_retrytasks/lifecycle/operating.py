"""What operators do to Tasks: re-drive, run now, snooze, discard, cancel."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, ParamSpec

from django.utils import timezone

from django_retrytasks.broker import wakeups
from django_retrytasks.database import DatabaseNow, writing
from django_retrytasks.models import UNFINISHED, Encoded, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import moments
from django_retrytasks.values.checked import Duration, as_seconds
from django_retrytasks.values.ids import as_ids

from . import breakers, cancelling, unique
from .log import log_all
from .rows import by_pk
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
        """Change Tasks and write wake-ups; return the changed Tasks as they were before.

        A final Task does not run again while another one holds its unique key.
        """
        pks = as_ids(ids)
        values, wake = self.decide(*args, **options)
        with writing():
            rows = Task.objects.filter(pk__in=pks, status__in=self.changes)
            tasks = list(rows.select_for_update().order_by("pk"))
            if values.get("status") in UNFINISHED:
                tasks = unique.take_keys_again(tasks)
            cancelling.record([task for task in tasks if task.was_started], values)
            if values.get("queued_at"):
                breakers.stop_clocks(tasks)
            by_pk(tasks).update(**values)
            if wake:
                wake_for([(task, wake) for task in tasks])
        log_all(logging.INFO, self.done, tasks, values.get("stop_note", ""))
        return tasks

    def count(
        self, ids: Iterable[uuid.UUID], *args: Options.args, **options: Options.kwargs
    ) -> int:
        """Return how many Tasks a call would change; change nothing."""
        values, _ = self.decide(*args, **options)
        rows = Task.objects.filter(pk__in=as_ids(ids), status__in=self.changes)
        if values.get("status") not in UNFINISHED:
            return rows.count()
        refused = unique.holders_of(ids)
        # Of Tasks with one unique key, one runs again.
        keys = {key or pk for pk, key in rows.values_list("pk", "unique_key") if pk not in refused}
        return len(keys)


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
    """Make waiting Tasks due at once; a pause or an open breaker still makes them wait."""
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
    return dropped(), None


@act("cancelled", *WAITING, Status.RUNNING)
def cancel(by: str = "", reason: str = "") -> Change:
    """Drop waiting and running Tasks.

    The worker of a running Task learns of it with its next heartbeat, interrupts the function, and
    refuses the outcome. A run with a known start gets an Attempt at once.

    Args:
        by: who cancels them.
        reason: why, in words.
    """
    return dropped(StopReason.CANCELLED, stop_note=cancelling.note(by, reason)), None


def _due_at(wait: timedelta = moments.ZERO) -> dict[str, Any]:
    moment = DatabaseNow.after(wait)
    return {"run_after": moment, "queued_at": moment}


def drop(tasks: Sequence[Task], reason: StopReason) -> None:
    """Drop locked Tasks, with their wake-ups, in the caller's transaction."""
    by_pk(tasks).update(**dropped(reason))
    wakeups.delete(task.wakeup_id for task in tasks)


def dropped(reason: StopReason = StopReason.DISCARDED, **about: str) -> dict[str, Any]:
    """Return the new values of Tasks that are dropped."""
    return {
        "status": Status.DISCARDED,
        "stop_reason": reason,
        "run_after": None,
        "finished_at": DatabaseNow(),
        "wakeup_id": None,
        "claim_token": None,
        "held_key": None,
        **about,
    }
