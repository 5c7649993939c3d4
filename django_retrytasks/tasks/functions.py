"""What a function must be to become a task, and where a worker finds it again: by dotted path."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from django_retrytasks.values.contract import InvalidTask, Task

# Django's own words for it.
MODULE_LEVEL = "Task function must be defined at a module level."
# The functions of all tasks made in this process, each with the spec of its module at that time:
# importlib.reload gives a module a new one.
_defined: WeakKeyDictionary[Callable[..., Any], object] = WeakKeyDictionary()


def path_of(func: Callable[..., Any]) -> str:
    """Return the dotted path of a function."""
    return f"{func.__module__}.{func.__qualname__}"


def defined_paths() -> list[str]:
    """Return the dotted paths of the functions noted in this process, sorted."""
    return sorted({path_of(func) for func in list(_defined)})


def note(func: Callable[..., Any]) -> None:
    """Note that a function has been made a task, the first time that it is."""
    if func not in _defined:
        _defined[func] = getattr(sys.modules.get(func.__module__), "__spec__", None)


def refuse_unfit(func: Callable[..., Any]) -> None:
    """Refuse a function that no worker could import, or whose body a call does not run.

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
    # Not what it wraps: a wrapper may well run the generator to its end.
    if inspect.isgeneratorfunction(func) or inspect.isasyncgenfunction(func):
        raise InvalidTask(
            f"{path_of(func)} is a generator function: a call would return a generator and run "
            "nothing of its body. Remove yield, or call it from a task that loops over it."
        )


def refuse_contextless(func: Callable[..., Any]) -> None:
    """Refuse a function without a parameter for its context.

    Raises:
        InvalidTask: its first parameter is not positional, or it has none.
    """
    first = next(iter(inspect.signature(func).parameters.values()), None)
    if first is None or first.kind in (first.KEYWORD_ONLY, first.VAR_KEYWORD):
        raise InvalidTask(
            f"{path_of(func)} gets its context as its first argument, and has no positional "
            f"parameter for it: write def {func.__name__}(self, ...), or leave out bind and "
            "takes_context."
        )


def refuse_stranger(func: Callable[..., Any]) -> None:
    """Refuse a task's function if a worker would find another thing at its dotted path.

    What stands there may be another form of this task, or its successor after a reload. Nothing is
    imported: a module that is not loaded, or lacks the name while it is imported, is not judged.

    Raises:
        InvalidTask: nothing stands there, no task, or the task of another function.
    """
    module = sys.modules.get(func.__module__)
    found = getattr(module, func.__qualname__, None)
    if isinstance(found, Task) and (found.func is func or _is_successor(found.func, func)):
        return
    if module is None or (found is None and _is_being_imported(module)):
        return
    raise InvalidTask(
        f"A worker would run what stands at {path_of(func)}: that is {_named(found)}, not this "
        "task. Put @retry_task on top of the function's own definition, and give each function of "
        "a module a name of its own."
    )


def _is_successor(found: Callable[..., Any], func: Callable[..., Any]) -> bool:
    return _defined.get(found) is not _defined.get(func)


def _is_being_imported(module: ModuleType) -> bool:
    # As import_string asks (django.utils.module_loading.cached_import).
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def _named(found: object) -> str:
    if found is None:
        return "nothing"
    return "another task" if isinstance(found, Task) else f"a {type(found).__name__}"
