"""The aliases of TASKS, as a test sets them up."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import django
from django.utils.module_loading import import_string
from pytest_django import Settings

from django_retrytasks.values.contract import task_backends

CORE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
FOREIGN = f"{CORE}.backends.immediate.ImmediateBackend"
OURS = "django_retrytasks.backend.RetryTasksBackend"
# The contract's own decorator; its types do not know what a backend's task_class takes.
task: Any = import_string(f"{CORE}.task")


def backend(alias: str = "default") -> Any:
    return task_backends[alias]


def configure(settings: Settings, **aliases: Mapping[str, Any]) -> None:
    """Have TASKS hold these aliases, on our backend unless they name another."""
    base = {"BACKEND": OURS, "QUEUES": []}
    settings.TASKS = {alias: {**base, **params} for alias, params in aliases.items()}
