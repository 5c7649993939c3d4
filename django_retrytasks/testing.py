"""Backends for tests and development, chosen by one setting.

``TASKS = {"default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend"}}``
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import cached_property
from typing import Any, NamedTuple

from . import lifecycle, worker
from .alerts import Alert
from .backend import RetryTasksBackend
from .models import Task
from .tasks.result import RetryTaskResult
from .tasks.storing import Call
from .values.contract import Task as ContractTask
from .values.contract import TaskResultDoesNotExist


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
        return [self.get_result(result.id) for result in enqueued]


class DummyBackend(RetryTasksBackend):
    """Keep enqueued Tasks in ``results``, and neither store nor run them.

    Calls are checked as by the real backend. ``results`` is for this process and thread.
    """

    supports_get_result = False

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        self.results: list[RetryTaskResult[Any]] = []

    def enqueue_many(
        self, task: ContractTask[..., Any], calls: Iterable[Call], *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        """Keep one result per call of (positional, keyword arguments), and return copies."""
        enqueued = super().enqueue_many(task, calls)
        self.results += enqueued
        return deepcopy(enqueued) if results else []

    def store(self, rows: Iterable[Task]) -> None:
        """Store nothing."""

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
