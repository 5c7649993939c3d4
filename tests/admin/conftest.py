"""Fixtures for pages of all sites."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from django_retrytasks.lifecycle import pauses, workers
from django_retrytasks.models import FailureGroup, Task
from django_retrytasks.operators import operations
from tests.admin.actions import mood, sends
from tests.admin.pages import logged_in
from tests.support import tasks
from tests.support.driver import Driver


@pytest.fixture
def failed(driver: Driver) -> Task:
    """A failed Task, and one row at least of all else that has pages."""
    result = tasks.fails_once_for_all.enqueue()
    driver.drain()
    tasks.echoes.enqueue(1)
    pauses.pause(queue_name="slow", by="ada")
    operations.start("REDRIVE", {"status": "FAILED"}, by="ada")
    workers.note("app-1:11:Process-1", "slow", age=60, idle=5)
    return driver.row(result)


@pytest.fixture
def operator() -> Client:
    """Who may do all, on sites that are for who is in the group "ops", the staff or not."""
    user = User.objects.create_user("olga", is_superuser=True)
    user.groups.add(Group.objects.create(name="ops"))
    return logged_in(user)


@pytest.fixture
def _no_alerts(settings: Any) -> None:
    """Have alerts go to the log alone, and ``sends`` fail."""
    settings.RETRYTASKS = {"ALERTS": []}
    mood["fails"] = True


@pytest.fixture
def group(driver: Driver) -> FailureGroup:
    """Three Tasks that failed by one cause, and one by another."""
    sends.enqueue_many([(n,) for n in range(3)])
    tasks.fails_once_for_all.enqueue()
    driver.drain()
    group: FailureGroup = FailureGroup.objects.get(name=sends.module_path)
    return group
