"""The tasks that are known here: those of each app's ``tasks``, and of all else that is imported.

A web process imports nothing because a row names it: rows may be written by others. Workers do.
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
        What is wrong with those that do not import, by their dotted path. Each is logged once, and
        the others are imported all the same.
    """
    return _discovered(tuple(apps.get_app_configs()))


def own_names() -> list[str]:
    """Return the dotted paths of the site's own tasks that are known here."""
    discover()
    return site_task_paths()


def find(name: str) -> RetryTask[..., Any] | None:
    """Return the task at a dotted path, None where none is known here; import nothing for it."""
    discover()
    path, _, attribute = name.rpartition(".")
    module = sys.modules.get(path)
    # A module of another kind may import on access.
    found: Any = vars(module).get(attribute) if type(module) is ModuleType else None
    return as_retry_task(found) if issubclass(type(found), ContractTask) else None


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
    """Return the tasks that stand in the modules imported so far, by name."""
    places = [path.rpartition(".") for path in functions.defined_paths()]
    found = (getattr(sys.modules.get(module), name, None) for module, _, name in places)
    return [task for task in found if isinstance(task, RetryTask)]


def site_task_paths() -> list[str]:
    """Return the dotted paths of those that are not this package's own."""
    names = [task.module_path for task in defined_tasks()]
    return [name for name in names if not name.startswith("django_retrytasks.")]
