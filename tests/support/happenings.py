"""What happens on a site: Tasks do as told, time goes by, a cluster serves."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

from django.db.models import F
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import Discard, RetryTaskContext, Snooze, lifecycle, retry_task
from django_retrytasks.database import DatabaseNow
from django_retrytasks.exceptions import AttemptTimedOut
from django_retrytasks.models import (
    Attempt,
    FailureGroup,
    OpenBreaker,
    Status,
    Task,
)
from django_retrytasks.values.moments import parked_moment
from django_retrytasks.worker import run
from tests.support.driver import KEY

MOMENTS = (
    "queued_at",
    "enqueued_at",
    "started_at",
    "last_attempted_at",
    "claimed_at",
    "finished_at",
)

TOLD = {"to": "return"}
"""What the next attempts do."""


@retry_task(bind=True, countdown=5, jitter=False)
def does_as_told(self: RetryTaskContext) -> str:
    deeds[TOLD["to"]](self)
    return "done"


def _raises(error: BaseException) -> None:
    raise error


def _retries_at_once(context: RetryTaskContext) -> None:
    raise context.retry(exc=ConnectionError("at once"), countdown=0)


deeds: dict[str, Callable[[RetryTaskContext], Any]] = {
    "return": lambda context: None,
    "raise": lambda context: _raises(ConnectionError("no luck")),
    "raise, retry at once": _retries_at_once,
    "time out": lambda context: _raises(AttemptTimedOut(1)),
    "snooze": lambda context: _raises(Snooze(60)),
    "discard": lambda context: _raises(Discard("no such order")),
}


def delete_everything() -> None:
    Attempt.objects.all().delete()
    Task.objects.all().delete()
    FailureGroup.objects.all().delete()
    OpenBreaker.objects.all().delete()
    OrmQ.objects.all().delete()


def move_time(seconds: float, *, of_hosts: bool = True) -> None:
    """Let time go by, or a clock step back: all that is stored moves the other way.

    Without ``of_hosts`` the database's clock alone steps.
    """
    moved = timedelta(seconds=seconds)
    parked = Task.objects.filter(run_after__gte=parked_moment())
    Task.objects.exclude(pk__in=list(parked.values_list("pk", flat=True))).update(
        run_after=F("run_after") - moved
    )
    Task.objects.update(**{name: F(name) - moved for name in MOMENTS})
    OpenBreaker.objects.update(**{name: F(name) - moved for name in ("opened_at", "next_probe_at")})
    if of_hosts:
        OrmQ.objects.update(lock=F("lock") - moved)


def end_leases(of: Iterable[uuid.UUID] | None = None) -> None:
    """End the leases of these Tasks, or of all that run."""
    running = Task.objects.filter(status=Status.RUNNING)
    if of is not None:
        running = running.filter(pk__in=list(of))
    running.update(run_after=DatabaseNow() - timedelta(seconds=1))


def serve_wake_up() -> bool:
    """Do as a cluster does with its next visible wake-up; return whether there was one."""
    visible = OrmQ.objects.filter(key=KEY, lock__lte=timezone.now())
    wake_up = visible.order_by("lock", "pk").first()
    if wake_up is None:
        return False
    package = wake_up.task
    wake_up.delete()
    run(*package["args"])
    return True


def finishing() -> Iterator[None]:
    """Do as a cluster and its schedule do, nothing else, until every Task is final.

    Time goes by in steps of ten minutes, one for each value yielded.
    """
    for _ in range(200):
        lifecycle.sweep()
        while serve_wake_up():
            pass
        yield
        if not Task.objects.unfinished().exists():
            return
        move_time(600)
    raise AssertionError(f"never finished: {list(Task.objects.unfinished().values())}")
