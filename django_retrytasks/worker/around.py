"""Enter the site's context managers round each call: those that ``RETRYTASKS["AROUND"]`` names."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import Any, NoReturn

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.utils.module_loading import import_string

from django_retrytasks import conf
from django_retrytasks.tasks.context import RetryTaskContext

Call = Callable[..., Any]
SETTING = 'RETRYTASKS["AROUND"]'


def surrounded(func: Call, context: Callable[[], RetryTaskContext]) -> Call:
    """Return a function's call inside the site's context managers; the function if there are none.

    The managers are entered in the order of the setting and left in reverse. What one of them
    raises is raised. What is raised inside of one is raised even if it returns True.

    Args:
        func: the function. For an ``async def`` function a coroutine function is returned.
        context: returns what each of the callables gets.
    """
    paths = conf.get().AROUND
    if not paths:
        return func
    is_async = iscoroutinefunction(func)
    call = func if is_async else _refusing_awaitables(func)
    inside = _inside_async if is_async else _inside
    for path in reversed(paths):
        call = inside(path, context(), call)
    return call


def _inside(path: str, context: RetryTaskContext, call: Call) -> Call:
    def inside(*args: Any, **kwargs: Any) -> Any:
        raised: list[BaseException] = []
        manager = import_string(path)(context)
        if not hasattr(manager, "__enter__"):
            _refuse(path, manager, "__enter__")
        with manager:
            try:
                return call(*args, **kwargs)
            except BaseException as error:
                raised.append(error)
                raise
        raise raised.pop()  # the manager swallowed it

    return inside


def _inside_async(path: str, context: RetryTaskContext, call: Call) -> Call:
    async def inside(*args: Any, **kwargs: Any) -> Any:
        raised: list[BaseException] = []
        manager = import_string(path)(context)
        if not hasattr(manager, "__aenter__"):
            if not hasattr(manager, "__enter__"):
                _refuse(path, manager, "__aenter__ or __enter__")
            manager = _InThread(manager)
        async with manager:
            try:
                return await call(*args, **kwargs)
            except BaseException as error:
                raised.append(error)
                raise
        raise raised.pop()  # the manager swallowed it

    return inside


def _refuse(path: str, manager: object, wanted: str) -> NoReturn:
    kind = type(manager).__name__
    raise TypeError(f"{SETTING}: {path} must return an object with {wanted}, not a {kind}")


def _refusing_awaitables(func: Call) -> Call:
    """Return a call that raises TypeError for an awaitable: its code would run outside."""

    def call(*args: Any, **kwargs: Any) -> Any:
        value = func(*args, **kwargs)
        if inspect.isawaitable(value):
            _discard(value)
            raise TypeError(
                f"{func.__qualname__} returned an awaitable, which {SETTING} cannot surround: "
                "write async def, or have the decorator that hides it mark its wrapper by "
                "asgiref.sync.markcoroutinefunction"
            )
        return value

    return call


def _discard(value: Awaitable[Any]) -> None:
    if inspect.iscoroutine(value):
        value.close()  # or Python warns that it was never awaited


class _InThread:
    """A plain context manager for ``async with``.

    It is entered and left in the thread that the function's synchronous code has, so it may use the
    database. Its changes of context variables hold for the function, and it may reset them.
    """

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._is_entered = False

    async def __aenter__(self) -> None:
        try:
            await _to_the_end(self._enter)
        except asyncio.CancelledError:
            await self.__aexit__(*sys.exc_info())
            raise

    async def __aexit__(self, *details: Any) -> None:
        await _to_the_end(self._leave, *details)

    def _enter(self) -> None:
        # Kept until the exit, since a token resets a variable only in the context that made it.
        self._context = copy_context()
        self._run(self._manager.__enter__)
        self._is_entered = True

    def _leave(self, *details: Any) -> None:
        if self._is_entered:
            self._run(self._manager.__exit__, *details)

    def _run(self, method: Call, *args: Any) -> None:
        self._context.run(method, *args)
        _adopt(self._context)


async def _to_the_end(method: Call, *args: Any) -> None:
    """Call a method in the thread. A thread cannot be cancelled, so a cancel waits for its end."""
    context = copy_context()
    running = asyncio.create_task(sync_to_async(method)(*args), context=context)
    cancel = None
    while not running.done():
        try:
            await asyncio.wait([running])
        except asyncio.CancelledError as error:
            cancel = error
    _adopt(context)
    running.result()
    if cancel:
        raise cancel


def _adopt(context: Context) -> None:
    """Give the context variables of the current context another context's values."""
    for variable, value in context.items():
        if variable.get(None) is not value:
            variable.set(value)
