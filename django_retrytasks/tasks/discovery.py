"""The known tasks: from each app's module ``tasks`` and from all other imported modules.

A web process never imports a path from a row, which others may have written. Workers do.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from django.apps import AppConfig, apps
from django.utils.module_loading import module_has_submodule

from django_retrytasks.values.contract import Task as ContractTask

from . import functions
from .definition import RetryTask, as_retry_task

logger = logging.getLogger("django_retrytasks")

MODULE = "tasks"


def discover() -> Mapping[str, str]:
    """Import ``<app>.tasks`` of the installed apps, once in a process.

    Returns:
        The import errors, by the module's dotted path. Each is logged once; the other modules are
        still imported.
    """
    return _discovered(tuple(apps.get_app_configs()))


def own_names() -> list[str]:
    """Return the dotted paths of the site's known tasks."""
    discover()
    return site_task_paths()


def find(name: str) -> RetryTask[..., Any] | None:
    """Return the known task at a dotted path, or None; does not import the path."""
    discover()
    path, _, attribute = name.rpartition(".")
    module = sys.modules.get(path)
    # A module of another kind may import on access.
    task: Any = vars(module).get(attribute) if type(module) is ModuleType else None
    return as_retry_task(task) if issubclass(type(task), ContractTask) else None


@cache
def _discovered(configs: tuple[AppConfig, ...]) -> Mapping[str, str]:
    problems = {}
    for config in configs:
        if config.module and module_has_submodule(config.module, MODULE):
            path = f"{config.name}.{MODULE}"
            try:
                import_module(path)
            except (Exception, SystemExit) as error:
                problems[path] = f"{type(error).__name__}: {error}"
                logger.warning("%s does not import: its tasks are not known", path, exc_info=True)
    return problems


def defined_tasks() -> list[RetryTask[..., Any]]:
    """Return the tasks in the modules imported so far, by name."""
    places = [path.rpartition(".") for path in functions.defined_paths()]
    objects = (getattr(sys.modules.get(module), name, None) for module, _, name in places)
    return [task for task in objects if isinstance(task, RetryTask)]


def site_task_paths() -> list[str]:
    """Return the dotted paths of the site's imported tasks, without this package's."""
    names = [task.module_path for task in defined_tasks()]
    return [name for name in names if not name.startswith("django_retrytasks.")]
