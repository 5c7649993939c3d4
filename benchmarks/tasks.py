"""What the benchmarks run: nothing, a sleep, or a failure."""

import time

from django.tasks import task

from django_retrytasks import retry_task


@retry_task
def nothing() -> None:
    """Return at once."""


@retry_task
def sleeps(seconds: float) -> None:
    if seconds:
        time.sleep(seconds)


@retry_task(max_retries=3, countdown=0)
def fails() -> None:
    raise ConnectionError("no luck")


@task(backend="tasks-db")
def nothing_for_tasks_db() -> None:
    """Return at once."""


def nothing_for_django_q() -> None:
    """Return at once."""


CAUSES = (
    ArithmeticError, BufferError, ConnectionError, EOFError, IndexError, KeyError, LookupError,
    MemoryError, NameError, OSError, PermissionError, ReferenceError, RuntimeError, TimeoutError,
    TypeError, ValueError,
)  # fmt: skip


@retry_task(max_retries=0)
def fails_of(cause: int) -> None:
    raise CAUSES[cause]("no luck")
