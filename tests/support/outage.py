"""A breaker in the test's own process: Tasks behind it, and the coming of its probe."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import Attempt, OpenBreaker, Status, Task
from django_retrytasks.worker.breaking import breaking
from tests.support import service
from tests.support.driver import Driver
from tests.support.service import down

NAME = "tests.support.service.calls"
BY_HOST = "tests.support.service.calls_host"
PLAIN = "tests.support.service.calls_without_breaker"


@pytest.fixture(autouse=True)
def new_worker() -> None:
    """Begin as a worker process that has seen nothing."""
    breaking.__init__()  # type: ignore[misc]
    service.service.__init__()  # type: ignore[misc]


@pytest.fixture
def opened(driver: Driver) -> OpenBreaker:
    """Open a breaker with 20 Tasks behind it."""
    enqueue(20)
    with down():
        for _ in range(3):
            driver.run_due()
    return OpenBreaker.objects.get()


def enqueue(count: int) -> list[Any]:
    return service.calls.enqueue_many([()] * count)


def own() -> Any:
    return Task.objects.filter(internal=False)


def counts(**which: Any) -> dict[str, int]:
    """Return the number of the site's Tasks by status."""
    return {s: n for s in Status if (n := own().filter(status=s, **which).count())}


def attempts() -> int:
    return Attempt.objects.filter(task__internal=False).count()


def behind() -> list[Task]:
    return [task for task in own() if task.is_behind_breaker]


def let_the_probe_come() -> None:
    OpenBreaker.objects.update(next_probe_at=DatabaseNow() - timedelta(seconds=1))


def the_probe() -> Task:
    probe: Task = Task.objects.get(pk__in=OpenBreaker.objects.values("probe"))
    return probe


def let_a_probe_through() -> Task:
    let_the_probe_come()
    breakers.let_due_probes_through()
    return the_probe()
