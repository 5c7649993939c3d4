"""Make a task's function fail, so that its retries can be tested."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import repeat
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.utils.module_loading import import_string

from django_retrytasks.tasks import functions
from django_retrytasks.values.checked import as_count
from django_retrytasks.values.contract import Task

Failure = BaseException | type[BaseException]

MESSAGE = "made to fail by the test"


@contextmanager
def failing(
    task: Task[..., Any], times: int | None = 1, exc: Failure = ConnectionError
) -> Iterator[None]:
    """Make the first calls of a function raise; later ones run it. Undone at the end of the block.

    In this process only: not in :func:`running_cluster`.

    Args:
        task: the decorated function.
        times: how many calls fail, from 0; None: all of them.
        exc: the exception to raise, or its class if that can be made from a message alone.

    Raises:
        TypeError, ValueError: ``task``, ``times`` or ``exc`` is none of these.
    """
    if not isinstance(task, Task):
        raise TypeError(f"failing() takes a decorated function, not {task!r}")
    _refuse_unraisable(exc)
    left = repeat(exc) if times is None else repeat(exc, as_count("times", times))
    # What a worker finds at the task's path: perhaps another object than this one.
    target = import_string(task.module_path)
    func, stand_in = target.func, _failing(target.func, left)
    functions.note_successor(stand_in)  # other forms of the task are accepted meanwhile
    _replace(target, stand_in)
    try:
        yield
    finally:
        _replace(target, func)


def _refuse_unraisable(exc: Any) -> None:
    if not issubclass(exc if isinstance(exc, type) else type(exc), BaseException):
        raise TypeError(f"exc must be an exception or its class, not {exc!r}")
    try:
        _made(exc)
    except Exception as error:
        raise TypeError(
            f"exc: {exc.__qualname__} cannot be made from a message alone, so give an instance: "
            f"{error}"
        ) from error


def _made(exc: Failure) -> BaseException:
    return exc if isinstance(exc, BaseException) else exc(MESSAGE)


def _replace(task: Task[..., Any], func: Callable[..., Any]) -> None:
    object.__setattr__(task, "func", func)  # it is a frozen dataclass


def _failing(func: Callable[..., Any], left: Iterator[Failure]) -> Callable[..., Any]:
    if iscoroutinefunction(func):

        @wraps(func)
        async def failing_coroutine(*args: Any, **kwargs: Any) -> Any:
            for exc in left:
                raise _made(exc)
            return await func(*args, **kwargs)

        return failing_coroutine

    @wraps(func)
    def failing_function(*args: Any, **kwargs: Any) -> Any:
        for exc in left:
            raise _made(exc)
        return func(*args, **kwargs)

    return failing_function
