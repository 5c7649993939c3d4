"""Refuse functions that cannot be tasks, and find functions by dotted path."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from asgiref.sync import iscoroutinefunction

from django_retrytasks.values.contract import InvalidTask, Task

# Django's own message.
MODULE_LEVEL = "Task function must be defined at a module level."
# The functions of all tasks made in this process, each with its module's spec at that time:
# importlib.reload gives a module a new spec.
_defined: WeakKeyDictionary[Callable[..., Any], object] = WeakKeyDictionary()


def path_of(func: Callable[..., Any]) -> str:
    """Return the dotted path of a function."""
    return f"{func.__module__}.{func.__qualname__}"


def defined_paths() -> list[str]:
    """Return the sorted dotted paths of the functions recorded in this process."""
    return sorted({path_of(func) for func in list(_defined)})


def note(func: Callable[..., Any]) -> None:
    """Record that a function has been made a task, the first time only."""
    if func not in _defined:
        _defined[func] = getattr(sys.modules.get(func.__module__), "__spec__", None)


def note_successor(func: Callable[..., Any]) -> None:
    """Record that a function stands in for the one at its path, as after a reload."""
    _defined[func] = object()


def refuse_unfit(func: Callable[..., Any]) -> None:
    """Refuse a function that no worker can import, or whose call does not run its body.

    Raises:
        InvalidTask: no function, a lambda, a nested function, a method, or a generator function.
    """
    if not inspect.isfunction(func):
        raise InvalidTask(f"{MODULE_LEVEL} {func!r} is no function: decorate one with @retry_task")
    if func.__qualname__ != func.__name__ or not func.__name__.isidentifier():
        raise InvalidTask(
            f"{MODULE_LEVEL} {path_of(func)} is no function of a module, so a worker could not "
            "import it: define it with def, and move it to the top level of its module."
        )
    # Not the wrapped function: a wrapper may run the generator to its end.
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise InvalidTask(
            f"{path_of(func)} is a generator function: a call would return a generator and run "
            "nothing of its body. Remove yield, or call it from a task that loops over it."
        )


def refuse_contextless(func: Callable[..., Any]) -> None:
    """Refuse a function without a parameter for its context.

    Raises:
        InvalidTask: the first parameter is not positional, or there is none.
    """
    first = next(iter(inspect.signature(func).parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise InvalidTask(
            f"{path_of(func)} gets its context as its first argument, and has no positional "
            f"parameter for it: write def {func.__name__}(self, ...), or leave out bind and "
            "takes_context."
        )


def refuse_blocking(func: Callable[..., Any]) -> None:
    """Refuse a function whose Tasks cannot run together, since a call would block the others.

    Raises:
        InvalidTask: it is no coroutine function, and not marked as one.
    """
    if not iscoroutinefunction(func):
        raise InvalidTask(
            f"{path_of(func)} has a concurrency and is no async def function: its Tasks could not "
            "run together. Write async def, or leave out concurrency. If a decorator hides the "
            "async def, have its wrapper marked by asgiref.sync.markcoroutinefunction."
        )


def refuse_stranger(func: Callable[..., Any]) -> None:
    """Refuse a task's function if its dotted path leads to another object.

    Another form of this task, or its successor after a reload, is accepted. Nothing is imported: a
    module that is not loaded, or lacks the name while it is imported, is not checked.

    Raises:
        InvalidTask: the path leads nowhere, to no task, or to the task of another function.
    """
    module = sys.modules.get(func.__module__)
    target = getattr(module, func.__qualname__, None)
    if isinstance(target, Task) and (target.func is func or _is_successor(target.func, func)):
        return
    if module is None or (target is None and _is_being_imported(module)):
        return
    raise InvalidTask(
        f"A worker would run what stands at {path_of(func)}: that is {_named(target)}, not this "
        "task. Put @retry_task on top of the function's own definition, and give each function of "
        "a module a name of its own."
    )


def _is_successor(other: Callable[..., Any], func: Callable[..., Any]) -> bool:
    return _defined.get(other) is not _defined.get(func)


def _is_being_imported(module: ModuleType) -> bool:
    # As in Django's import_string (django.utils.module_loading.cached_import).
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _named(target: object) -> str:
    if target is None:
        return "nothing"
    return "another task" if isinstance(target, Task) else f"a {type(target).__name__}"
