"""Tasks that go wrong in ways of their own."""

import time
from collections.abc import Iterator
from typing import Any

from django.db import transaction

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task
from django_retrytasks.models import Status, Task


@retry_task
def discards_with(reason: str) -> None:
    raise Discard(reason)


@retry_task(max_retries=0)
def discards_wrongly() -> None:
    class Gone(Discard):
        def __init__(self) -> None:
            """Leave out what the base class does."""

        reason = property(lambda self: self.nothing)

    raise Gone


@retry_task(max_retries=0)
def snoozes_wrongly() -> None:
    class Later(Snooze):
        def __init__(self) -> None:
            """Leave out what the base class does."""

    raise Later


@retry_task(max_retries=0)
def raises_unshowable() -> None:
    error = SyntaxError("unshowable")
    error.text = b"bytes"  # type: ignore[assignment]
    error.lineno, error.offset, error.filename = 1, 1, "nowhere.py"
    raise error


@retry_task(max_retries=0)
def leaves_a_generator_open() -> None:
    rows = _locked()
    for _ in rows:
        raise ValueError("in the middle")


def _locked() -> Iterator[int]:
    with transaction.atomic():
        yield from range(3)


_kept: list[Any] = []


@retry_task
def leaves_atomic_open() -> None:
    block = transaction.atomic()
    block.__enter__()
    _kept.append(block)


@retry_task
def tells_how_many_are_settled(seconds: float) -> int:
    time.sleep(seconds)
    return Task.objects.filter(status=Status.SUCCEEDED).count()


@retry_task(bind=True)
def beats(self: RetryTaskContext) -> list[bool]:
    held = self.heartbeat()
    return [held, Task.objects.get(pk=self.row.pk).was_started]


def fault() -> Any:
    """Stand in for what a test has happen in the middle of a function."""


@retry_task(max_retries=0)
def meets_a_fault() -> Any:
    return fault()


@retry_task
def tells_statuses(seconds: float) -> list[str]:
    """Return how its own Task and those beside it stand when the seconds are over."""
    time.sleep(seconds)
    return sorted(Task.objects.values_list("status", flat=True))
