"""Backends for tests and development, swapped in by one setting.

``TASKS = {"default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend"}}``
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from django.utils import timezone

from . import lifecycle, worker
from .backend import Call, RetryTaskResult, RetryTasksBackend
from .contract import Task as ContractTask
from .contract import TaskResultDoesNotExist
from .models import Task


class ImmediateBackend(RetryTasksBackend):
    """Run each Task, its retries and its announcements before ``enqueue`` returns.

    Rows and signals are those of a cluster, delays are skipped, and nothing is left to one. Inside
    a transaction it runs in that transaction.
    """

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call]
    ) -> list[RetryTaskResult[Any]]:
        """Store and run one Task per call of (positional, keyword arguments)."""
        with lifecycle.running_inline(()) as pending:
            results = super().enqueue_many(task, calls)
        worker.run_inline(pending)
        return [self.get_result(result.id) for result in results]


class DummyBackend(RetryTasksBackend):
    """Keep what is enqueued in ``results``, and neither store nor run it.

    Calls are checked as the real backend checks them. ``results`` is of this process and thread.
    """

    supports_get_result = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[RetryTaskResult[Any]] = []

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call]
    ) -> list[RetryTaskResult[Any]]:
        """Keep one result per call of (positional, keyword arguments)."""
        results = super().enqueue_many(task, calls)
        self.results += results
        return results

    def store(self, rows: Sequence[Task]) -> None:
        """Store nothing."""
        for row in rows:
            row.enqueued_at = timezone.now()

    def get_result(self, result_id: str) -> RetryTaskResult[Any]:
        """Return what was enqueued under this id.

        Raises:
            TaskResultDoesNotExist: nothing was.
        """
        for result in self.results:
            if result.id == result_id:
                return result
        raise TaskResultDoesNotExist(result_id)

    def clear(self) -> None:
        """Forget what was enqueued."""
        self.results.clear()
