"""The rows that a test asks about, and errors for Tasks that are stored nowhere."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings

from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Task
from django_retrytasks.values.contract import AnyTaskResult, TaskResult, task_backends
from django_retrytasks.values.contract import Task as ContractTask

from .backends import DummyBackend

Stored = Task | AnyTaskResult
"""A Task: its row, or the result that ``enqueue`` returned."""

FIX = 'name "django_retrytasks.backend.RetryTasksBackend" in the TASKS of your tests'


def row_of(of: Stored) -> Task:
    """Return a Task as it is stored now.

    Raises:
        TypeError: no row and no result.
        AssertionError: no such row, since its backend stores none, or since it was deleted.
    """
    row = Task.objects.filter(pk=pk_of(of)).first()
    if row is None:
        raise AssertionError(f"Task {pk_of(of)} is not stored: it was deleted, or rolled back")
    return row


def pk_of(of: Stored) -> UUID:
    """Return the id of a Task; see :func:`row_of` for the errors."""
    if isinstance(of, Task):
        return of.id
    if not isinstance(of, TaskResult):
        raise TypeError(f"give a Task's row or the result of enqueue, not {of!r}")
    refuse_unstored(of.task)
    return UUID(of.id)


def refuse_unstored(task: ContractTask[..., Any]) -> None:
    """Raise AssertionError if the backend of a function stores no rows."""
    backend = task.get_backend()
    if not stores_rows(backend):
        raise AssertionError(f"{task.module_path} stores no Task: {_why(backend)}")


def refuse_storeless_site() -> None:
    """Raise AssertionError if no Task is stored, and no backend of ``TASKS`` would store one.

    A site that does not set ``TASKS`` is not refused: ``@retry_task`` stores rows there.
    """
    site: Any = settings  # mypy's plugin knows no attribute but the settings
    if not site.is_overridden("TASKS"):
        return
    others = [backend for backend in task_backends.all() if not stores_rows(backend)]
    if others and len(others) == len(task_backends.settings) and not Task.objects.exists():
        raise AssertionError(f"no Task is stored: {_why(others[0])}")


def stores_rows(backend: object) -> bool:
    """Whether a backend of ``TASKS`` stores Tasks as rows."""
    return isinstance(backend, RetryTasksBackend) and not isinstance(backend, DummyBackend)


def _why(backend: Any) -> str:
    kind = type(backend)
    path = f"{kind.__module__}.{kind.__qualname__}"
    return f"TASKS[{backend.alias!r}] is {path}, which stores no rows: {FIX}"
