"""A Schedule made by hand in django-q2's admin enqueues any task by its dotted path."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from django_retrytasks import worker
from django_retrytasks.values.entries import ENQUEUE_ENTRY
from tests.support import tasks
from tests.support.declarations import enqueued

# The scheduler closes connections.
pytestmark = pytest.mark.django_db(transaction=True)


def scheduled(args: str, kwargs: str = "") -> Any:
    """Let django-q2's scheduler run a Schedule that was filled in by hand; return its answer."""
    Schedule.objects.all().delete()
    due = timezone.now() - timedelta(minutes=1)
    Schedule.objects.create(func=ENQUEUE_ENTRY, args=args, kwargs=kwargs, next_run=due)
    scheduler()
    package = SignedPackage.loads(OrmQ.objects.get().payload)
    assert package["func"] == "django_retrytasks.worker.enqueue"
    return worker.enqueue(*package["args"], **package["kwargs"])


def test_it_enqueues_with_its_arguments() -> None:
    answer = scheduled("'tests.support.tasks.echoes', 'a report'", "other=[1]")

    [task] = enqueued()
    assert answer == str(task.pk)
    assert (task.args, task.kwargs) == (["a report"], {"other": [1]})


@pytest.mark.parametrize("kwargs", ["", "path='tests.support.tasks.echoes'"])
def test_one_without_a_path_is_logged_and_not_repeated(
    kwargs: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = scheduled("", kwargs)

    assert answer == "not enqueued: its Arguments do not begin with the dotted path of a task"
    assert "A Schedule cannot enqueue" in caplog.text


def test_any_error_of_the_call_is_logged_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    late = tasks.echoes.using(run_after=timedelta(hours=1), expires=60)
    monkeypatch.setattr(tasks, "late", late, raising=False)

    answer = scheduled("'tests.support.tasks.late', 1")

    assert answer.startswith("not enqueued: ")
    assert "expire" in answer
    assert answer.removeprefix("not enqueued: ") in caplog.text


def test_an_error_of_the_database_is_raised_so_that_django_q2_repeats_the_call() -> None:
    def refuse(*args: object) -> None:
        raise OperationalError("the server is away")

    with connection.execute_wrapper(refuse), pytest.raises(OperationalError, match="away"):
        worker.enqueue("tests.support.tasks.echoes", 1)


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        ("'shop.tasks.gone'", "shop.tasks.gone cannot be imported"),
        ("'tests.support.tasks.gone'", "tests.support.tasks.gone cannot be imported"),
        ("'tests.support.tasks'", "is no task but a module"),
        ("'math.floor'", "math.floor is no task but a builtin"),
        ("'tests.support.tasks.echoes', 1, 2, 3", "too many positional arguments"),
        ("''", "cannot be imported"),
        ("7", "7 cannot be imported"),
    ],
)
def test_a_wrong_one_is_logged_and_not_repeated(
    args: str, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = scheduled(args)

    [record] = [each for each in caplog.records if each.name == "django_retrytasks"]
    assert record.levelno == logging.ERROR
    assert record.getMessage().startswith("A Schedule cannot enqueue ")
    assert problem in record.getMessage()
    assert answer.startswith("not enqueued: ")
    assert enqueued() == []
