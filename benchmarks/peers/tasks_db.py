"""django-tasks-db, two worker processes."""

from __future__ import annotations

from django.tasks import task
from django_tasks_db.models import DBTaskResult, get_date_max

from benchmarks.peers import works
from benchmarks.peers.tables import empty, make

__all__ = ["empty", "prepare"]

prepare = make


@task
def nothing(number: int) -> None:
    works.nothing(number)


@task
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


TASKS = {"nothing": nothing, "sleeps": sleeps}


def enqueue(work: str, count: int, seconds: float) -> None:
    """Store the rows that ``enqueue`` would have stored: there is no call for many."""
    path = TASKS[work].module_path
    DBTaskResult.objects.bulk_create(
        (
            DBTaskResult(
                args_kwargs={"args": arguments, "kwargs": {}},
                task_path=path,
                backend_name="default",
                run_after=get_date_max(),
            )
            for arguments in works.arguments(work, count, seconds)
        ),
        batch_size=1000,
    )


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.enqueue(number)


def left() -> int:
    return DBTaskResult.objects.filter(finished_at=None).count()


def kept() -> dict[str, int]:
    ended = DBTaskResult.objects.exclude(finished_at=None)
    return {
        "tasks": ended.count(),
        "attempts": 0,
        "tracebacks": ended.exclude(traceback="").count(),
    }
