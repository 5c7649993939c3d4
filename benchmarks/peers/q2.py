"""django-q2 alone, by its ORM broker."""

from __future__ import annotations

from django.utils import timezone
from django_q.models import OrmQ
from django_q.models import Task as Result
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from benchmarks.peers import works
from benchmarks.peers.tables import empty, make

__all__ = ["empty", "prepare"]

prepare = make


def enqueue(work: str, count: int, seconds: float) -> None:
    """Store the rows that ``async_task`` would have stored: there is no call for many."""
    OrmQ.objects.bulk_create(
        (
            OrmQ(key="benchmarks", payload=_package(work, arguments), lock=timezone.now())
            for arguments in works.arguments(work, count, seconds)
        ),
        batch_size=1000,
    )


def _package(work: str, arguments: tuple[object, ...]) -> str:
    from django_q.humanhash import uuid

    name, identity = uuid()
    package = {
        "id": identity,
        "name": name,
        "func": f"benchmarks.peers.works.{work}",
        "args": arguments,
        "kwargs": {},
        "started": timezone.now(),
    }
    return str(SignedPackage.dumps(package))


def enqueue_each(count: int) -> None:
    for number in range(count):
        async_task(works.nothing, number)


def left() -> int:
    return OrmQ.objects.count()


def kept() -> dict[str, int]:
    return {"tasks": Result.objects.count(), "attempts": 0, "tracebacks": 0}
