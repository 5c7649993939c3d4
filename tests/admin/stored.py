"""Tasks as an admin page is to find them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db.models import DateTimeField, ExpressionWrapper, Value

from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Task
from tests.support import tasks
from tests.support.driver import Driver


def put(of: Any, **values: Any) -> None:
    pk = of.pk if isinstance(of, Task) else of.id
    assert Task.objects.filter(pk=pk).update(**values) == 1


def seconds_from_now(seconds: float) -> Any:
    moved = DatabaseNow() + Value(timedelta(seconds=seconds))
    return ExpressionWrapper(moved, output_field=DateTimeField())


def fail_thrice(driver: Driver) -> Any:
    result = tasks.always_fails.enqueue()
    for _ in range(3):
        driver.attempt(result)
    return result


def fail(driver: Driver, count: int = 1, task: Any = tasks.fails_once_for_all) -> list[Any]:
    results = [task.enqueue() for _ in range(count)]
    driver.run_due()
    return results


def exhaust(driver: Driver, task: Any = tasks.always_fails) -> Any:
    result = task.enqueue()
    for _ in range(4):
        driver.attempt(result)
    return result


def log(of: Any, user: User, message: str) -> None:
    LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(of),
        object_id=str(of.pk),
        object_repr=str(of),
        action_flag=CHANGE,
        change_message=message,
    )
