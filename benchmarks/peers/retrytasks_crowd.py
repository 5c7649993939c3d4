"""django-retrytasks beside many other Tasks, by SQL of PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from benchmarks.peers.retrytasks import (
    empty,
    enqueue,
    enqueue_each,
    kept,
    left,
    nothing,
    prepare,
    sleeps,
)
from django_retrytasks import retry_task
from django_retrytasks.models import Status, Task

__all__ = [
    "empty", "enqueue", "enqueue_each", "kept", "left", "nothing", "prepare", "sleeps",
]  # fmt: skip


@retry_task
def crowds() -> None:
    """Return at once, and leave no record."""


# Each crowd as the options of one of its Tasks.
CROWDS = {
    "future": {"priority": 50, "run_after": timedelta(days=30)},
    "due": {"priority": -50},
    "elsewhere": {"priority": 50, "queue_name": "elsewhere"},
}


def crowd(kind: str, count: int) -> None:
    """Store so many Tasks that are "future", "due" (later), due "elsewhere", or "finished"."""
    options = dict(CROWDS.get(kind, {}))
    if wait := options.pop("run_after", None):
        options["run_after"] = timezone.now() + wait
    result = crowds.using(**options).enqueue()
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM django_q_ormq")
    if kind == "finished":
        Task.objects.filter(pk=result.id).update(
            status=Status.SUCCEEDED, run_after=None, finished_at=timezone.now(), attempt_count=1
        )
    _multiply(result.id, count)


def _multiply(pk: str, count: int) -> None:
    table = Task._meta.db_table
    columns = [field.column for field in Task._meta.concrete_fields if not field.primary_key]
    names = ", ".join(columns)
    sql = f"""
        INSERT INTO {table} (id, {names})
        SELECT gen_random_uuid(), {names} FROM {table}, generate_series(2, %s) WHERE id = %s
    """
    with connection.cursor() as cursor:
        cursor.execute(sql, [count, pk])
