"""Backends for tests and development, chosen by one setting.

``TASKS = {"default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend"}}``
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

from django_retrytasks import lifecycle, worker
from django_retrytasks.alerts import Alert
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Task
from django_retrytasks.tasks import RetryTask
from django_retrytasks.tasks.result import RetryTaskResult
from django_retrytasks.tasks.storing import Call
from django_retrytasks.values.contract import Task as ContractTask
from django_retrytasks.values.contract import TaskResultDoesNotExist


class KeptAlert(NamedTuple):
    """An alert that was not sent."""

    sink: str
    """Name of the sink in ``ALERTS``: its dotted path, unless it has a name of its own."""
    alert: Alert


class ImmediateBackend(RetryTasksBackend):
    """Run each Task, its retries and its announcements before ``enqueue`` returns.

    Rows and signals are the same as with a cluster; delays are skipped. Inside a transaction, the
    Task runs in that transaction. Alerts are kept in ``alerts``, for this process and thread. They
    and events for Sentry are sent only if ``OPTIONS["SEND_ALERTS"]`` is True.
    """

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.alerts: list[KeptAlert] = []
        self.options = dict(self.options)
        self.sends_alerts = self.options.pop("SEND_ALERTS", False)

    @cached_property
    def policy_options(self) -> dict[str, Any]:
        """Return the policy options of this alias.

        Raises:
            TypeError: also if ``SEND_ALERTS`` is not a bool.
        """
        if not isinstance(self.sends_alerts, bool):
            raise TypeError(
                f"TASKS[{self.alias!r}]: SEND_ALERTS must be True or False, not "
                f"{self.sends_alerts!r}"
            )
        return super().policy_options

    def send_alert(self, sink: str, alert: Alert, send: Callable[[], object]) -> None:
        """Keep an alert, or send it if ``SEND_ALERTS`` is True."""
        if self.sends_alerts:
            send()
        else:
            self.alerts.append(KeptAlert(sink, alert))

    def clear(self) -> None:
        """Delete the kept alerts."""
        self.alerts.clear()

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call], *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        """Store and run one Task per call of (positional, keyword arguments)."""
        with lifecycle.running_inline(()) as pending:
            enqueued = super().enqueue_many(task, calls, results=results)
        worker.run_inline(pending)
        return [self._refreshed(result) for result in enqueued]

    def _refreshed(self, result: RetryTaskResult[Any]) -> RetryTaskResult[Any]:
        result.refresh()
        return result


class DummyBackend(RetryTasksBackend):
    """Keep enqueued Tasks in ``results``, and neither store nor run them.

    Calls are checked as by the real backend. A unique Task holds its key until :meth:`clear`.
    ``results`` is for this process and thread.
    """

    supports_get_result = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[RetryTaskResult[Any]] = []
        self._holders: dict[uuid.UUID, Task] = {}

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call], *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        """Keep one result per call of (positional, keyword arguments), and return copies."""
        enqueued = super().enqueue_many(task, calls)
        self.results += [result for result in enqueued if result.created]
        return deepcopy(enqueued) if results else []

    def store(self, rows: Iterable[Task]) -> lifecycle.Held:
        """Store nothing but who holds which unique key."""
        unique = [
            (row, self._holders.setdefault(row.held_key, row)) for row in rows if row.held_key
        ]
        return {row.pk: holder for row, holder in unique if holder is not row}

    def find(
        self, task: RetryTask[..., Any], rows: Iterable[Task]
    ) -> dict[uuid.UUID, RetryTaskResult[Any]]:
        """Return the kept results of Tasks."""
        return {row.pk: replace(self.get_result(str(row.pk)), created=False) for row in rows}

    def get_result(self, result_id: str) -> RetryTaskResult[Any]:
        """Return the result with this id.

        Raises:
            TaskResultDoesNotExist: no Task with this id was enqueued.
        """
        for result in self.results:
            if result.id == result_id:
                return result
        raise TaskResultDoesNotExist(result_id)

    def clear(self) -> None:
        """Delete the kept results."""
        self.results.clear()
        self._holders.clear()
