"""A shop whose server may be down, and what is heard of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F

from django_retrytasks import retry_task, worker
from django_retrytasks.alerts import Alert
from django_retrytasks.models import FailureGroup, Task
from tests.support.driver import Driver

HERE = "tests.support.shop"
HEAR = f"{HERE}.hear"
GROUP_TIMES = (
    "first_seen_at",
    "last_seen_at",
    "last_failed_at",
    "streak_started_at",
    "alerted_at",
    "muted_until",
    "resolved_at",
    "regressed_at",
)
mood: dict[str, Any] = {"fails": True}
"""Whether the server is down."""
heard: list[Alert] = []


@retry_task(max_retries=0)
def sends(recipient: str = "") -> None:
    if mood["fails"]:
        raise ConnectionError(f"refused for {recipient}")


def hear(alert: Alert) -> None:
    """Be a sink."""
    heard.append(alert)


@pytest.fixture(autouse=True)
def shop_is_down(settings: Any) -> None:
    """Have the server down, and alerts heard; nothing has been heard yet."""
    settings.RETRYTASKS = {"ALERTS": [HEAR]}
    heard.clear()
    mood["fails"] = True


def fail(driver: Driver, count: int = 1) -> None:
    """Have so many Tasks fail for good, and their announcements run."""
    sends.enqueue_many([(f"user{n}@example.com",) for n in range(count)])
    driver.drain()


def sweep(driver: Driver) -> None:
    """Have the sweep run, and all that it starts."""
    worker.sweep()
    driver.drain()


def time_goes_by(span: timedelta) -> None:
    """Let time go by for failure groups and finished Tasks: what is stored moves back."""
    FailureGroup.objects.update(**{name: F(name) - span for name in GROUP_TIMES})
    Task.objects.filter(finished_at__isnull=False).update(finished_at=F("finished_at") - span)


def recover(driver: Driver, task: Any = sends, *args: Any) -> None:
    """Have a Task succeed after six quiet minutes, and the sweep find it; then be down again."""
    time_goes_by(timedelta(minutes=6))
    mood["fails"] = False
    task.enqueue(*args)
    driver.drain()
    sweep(driver)
    mood["fails"] = True


def the_group() -> FailureGroup:
    """Return the only failure group."""
    group: FailureGroup = FailureGroup.objects.get()
    return group
