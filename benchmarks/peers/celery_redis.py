"""Celery with Redis, two processes in its pool; with and without a stored result."""

from __future__ import annotations

from celery import Celery
from django.apps import apps
from django.conf import settings

from benchmarks.peers import keys, works
from benchmarks.peers.tables import empty as empty_tables
from benchmarks.peers.tables import make

app = Celery("benchmarks")
app.conf.update(
    broker_url=keys.URL,
    broker_transport_options={"global_keyprefix": f"{keys.NAME}."},
    **settings.CELERY,
)


@app.task
def nothing(number: int) -> None:
    works.nothing(number)


@app.task
def sleeps(number: int, seconds: float) -> None:
    works.sleeps(number, seconds)


@app.task(
    autoretry_for=(ConnectionError,),
    retry_kwargs={"max_retries": works.RETRIES, "countdown": 0},
)
def fails(number: int) -> None:
    works.fails(number)


def keeps_results() -> bool:
    return apps.is_installed("django_celery_results")


def prepare() -> None:
    if keeps_results():
        make()


def empty() -> None:
    keys.delete()
    if keeps_results():
        empty_tables()


def enqueue(work: str, count: int, seconds: float) -> None:
    task = {"nothing": nothing, "sleeps": sleeps, "fails": fails}[work]
    with app.producer_pool.acquire(block=True) as producer:
        for arguments in works.arguments(work, count, seconds):
            task.apply_async(arguments, producer=producer)


def enqueue_each(count: int) -> None:
    for number in range(count):
        nothing.delay(number)


def left() -> int:
    with keys.server() as redis:
        return redis.llen(f"{keys.NAME}.celery") + redis.hlen(f"{keys.NAME}.unacked")


def kept() -> dict[str, int]:
    if not keeps_results():
        return {"tasks": 0, "attempts": 0, "tracebacks": 0}
    from django_celery_results.models import TaskResult

    results = TaskResult.objects
    return {
        "tasks": results.filter(status__in=("SUCCESS", "FAILURE")).count(),
        "attempts": 0,
        "tracebacks": results.exclude(traceback=None).count(),
    }
