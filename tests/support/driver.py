"""A cluster's work done by hand, in the test's own process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from threading import Thread
from typing import Any

from django.db import connections
from django.dispatch import Signal
from django.test import override_settings
from django_q.models import OrmQ

from django_retrytasks import conf, lifecycle, worker
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import Claim, Ending
from django_retrytasks.lifecycle.lanes import survey
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import Decision, StopReason
from django_retrytasks.worker import pace
from tests.support import tasks

Outcome = Attempt.Outcome

# The name of the default cluster in tests/settings.py.
KEY = "retrytasks-tests"
# Seconds. On a busy machine the usual slice ends before the work does.
LONG = 60


class Driver:
    """Do by hand, in this process, what a cluster does; time passes by moving rows, not by sleep.

    Wherever a Task is asked for, its row or its result will do.
    """

    def row(self, of: Any) -> Task:
        """Return the Task as it is stored now."""
        task: Task = Task.objects.get(pk=_pk(of))
        return task

    def attempts(self, of: Any) -> list[Attempt]:
        """Return the Task's attempts, the first one first."""
        return list(Attempt.objects.filter(task=_pk(of)))

    def make_due(self, *of: Any) -> None:
        """Let the moment come: a waiting Task's run_after, the end of a running one's lease."""
        rows = Task.objects.filter(pk__in=[_pk(one) for one in of])
        rows.update(run_after=DatabaseNow() - timedelta(seconds=1))

    def run_due(self) -> None:
        """Serve a wake-up of the default cluster to the end, unless the test sets SLICE."""
        with override_settings(RETRYTASKS={"SLICE": LONG, **conf.raw()}):
            worker.run(KEY)

    def run_beside_neighbours(self, of: Any) -> list[Status]:
        """Run a Task in one claim with two that succeed; return the statuses of these."""
        neighbours = tasks.echoes.enqueue_many([(1,), (2,)])
        for _ in range(40):
            pace.pace.note(0.0001)

        self.run_due()

        return [Status(self.row(neighbour).status) for neighbour in neighbours]

    def attempt(self, of: Any) -> Task:
        """Run the Task's next attempt whatever its run_after; return the Task."""
        self.make_due(of)
        self.run_due()
        return self.row(of)

    def drain(self) -> None:
        """Run all that waits, internal Tasks too, until nothing is unfinished."""
        for _ in range(50):
            waiting = list(Task.objects.unfinished())
            if not waiting:
                return
            self.make_due(*waiting)
            self.run_due()
        raise AssertionError(f"still unfinished: {waiting}")

    def run_internal(self) -> list[Task]:
        """Run what announces final failures; return those Tasks, in order of their making."""
        self.drain()
        return list(Task.objects.filter(internal=True).order_by("enqueued_at", "pk"))

    def claim(self, *, limit: int = 50, by: str = "host:1:one") -> Claim:
        """Claim what is due in the default cluster."""
        return lifecycle.claim(survey().for_cluster(KEY).due, limit=limit, worker=by)

    def ending(self, task: Task, outcome: Outcome = Outcome.SUCCEEDED, **details: Any) -> Ending:
        """Return a claimed Task's ending: a failure is retried if a ``countdown`` is given."""
        countdown, stop_reason = details.pop("countdown", None), None
        if outcome not in (Outcome.SUCCEEDED, Outcome.SNOOZED) and countdown is None:
            stop_reason = StopReason.MAX_RETRIES
        assert task.claimed_at is not None
        return Ending(
            task=task,
            outcome=outcome,
            decision=Decision(countdown=countdown, stop_reason=stop_reason, reason="as told"),
            started_at=task.claimed_at,
            finished_at=task.claimed_at,
            worker=task.worker,
            **details,
        )

    def task_in(self, status: Status) -> Task:
        """Return a stored Task, brought to this status by the verbs."""
        result = tasks.echoes.enqueue(1)
        if status == Status.DISCARDED:
            lifecycle.discard([uuid.UUID(result.id)])
        elif status != Status.PENDING:
            [task] = lifecycle.claim_inline([uuid.UUID(result.id)], worker="host:1:one").tasks
            self._settle_as(task, status)
        return self.row(result)

    def _settle_as(self, task: Task, status: Status) -> None:
        if status == Status.SUCCEEDED:
            lifecycle.settle([self.ending(task)])
        elif status == Status.FAILED:
            lifecycle.settle([self.ending(task, Outcome.FAILED)])
        elif status == Status.RETRYING:
            lifecycle.settle([self.ending(task, Outcome.FAILED, countdown=5)])


def _pk(of: Any) -> uuid.UUID:
    return of.pk if isinstance(of, Task) else uuid.UUID(of.id)


def wake_ups(key: str = KEY) -> list[OrmQ]:
    """Return the wake-ups that wait for this cluster, the earliest first."""
    return list(OrmQ.objects.filter(key=key).order_by("lock", "pk"))


@contextmanager
def received(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """Collect what a signal sends while the body runs."""
    calls: list[dict[str, Any]] = []

    def receiver(**details: Any) -> None:
        calls.append(details)

    signal.connect(receiver, weak=False)
    try:
        yield calls
    finally:
        signal.disconnect(receiver)


class Session(Thread):
    """Another process's database session: a thread with connections of its own."""

    def __init__(self, act: Any) -> None:
        super().__init__()
        self._act = act
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            self.value = self._act()
        except BaseException as error:  # told to the test by result()
            self.error = error
        finally:
            connections.close_all()

    def result(self, seconds: float = 20) -> Any:
        """Return what the act returned; raise what it raised."""
        self.join(seconds)
        assert not self.is_alive(), f"{self._act} takes longer than {seconds} s"
        if self.error:
            raise self.error
        return self.value


def in_another_session(act: Any) -> Session:
    """Start an act in a session of its own; return the session."""
    session = Session(act)
    session.start()
    return session
