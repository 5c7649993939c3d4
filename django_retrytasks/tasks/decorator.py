"""The decorator ``@retry_task``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, Unpack, overload

from .context import RetryTaskContext
from .definition import RetryTask
from .options import TaskOptions

P = ParamSpec("P")
R = TypeVar("R")


@overload
def retry_task(func: Callable[P, R], /) -> RetryTask[P, R]: ...


@overload
def retry_task(
    *, bind: Literal[True], takes_context: bool = False, **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[RetryTaskContext, P], R]], RetryTask[P, R]]: ...


@overload
def retry_task(
    *, bind: bool = False, takes_context: Literal[True], **options: Unpack[TaskOptions]
) -> Callable[[Callable[Concatenate[RetryTaskContext, P], R]], RetryTask[P, R]]: ...


@overload
def retry_task(
    *,
    bind: Literal[False] = False,
    takes_context: Literal[False] = False,
    **options: Unpack[TaskOptions],
) -> Callable[[Callable[P, R]], RetryTask[P, R]]: ...


def retry_task(
    func: Callable[..., Any] | None = None, /, *, bind: bool = False, **options: Any
) -> Any:
    """Make a function a task: its calls are stored, run by the cluster and retried on failure.

    Use it bare, with options, or with ``bind=True``: then the function's first argument (``self``
    in Celery's spelling) is its :class:`RetryTaskContext`. A coroutine function runs in an event
    loop of its own; with ``concurrency`` above 1 beside other Tasks of its claim.

    Args:
        func: a function at the top level of a module.
        bind: whether its first argument is the context.
        options: the options of :class:`RetryPolicy`; ``priority`` (-100 to 100), ``queue_name``,
            ``backend`` (an alias in ``TASKS``) and ``takes_context`` (as in django.tasks);
            ``sensitive``, names of parameters whose values are never shown; ``search_key``, the
            name of the parameter whose value finds the Task; ``unique``, what makes an unfinished
            Task the only one: True for all arguments, a parameter's name, or a callable that
            returns a text from a mapping of the arguments; ``unique_for``, seconds or a timedelta
            from enqueue in which it is the only one even if finished; ``on_failure``, a callable
            ``(task, attempt)`` or its dotted path, called after a final failure; ``concurrency``,
            how many Tasks of an ``async def`` function a worker runs together (1 to 100);
            ``expires``, the latest start of a first attempt, in seconds from enqueue;
            ``interruptible``, False: a cancel raises nothing in the function;
            ``breaker``, a :class:`Breaker` that stops the attempts while a service is down.

    Raises:
        InvalidTask: no function at the top level of a module, a generator function, no parameter
            for the context, no coroutine function for ``concurrency``, or a queue that the backend
            does not know.
        TypeError: an unknown option, or a name that is no parameter; the message gives the nearest
            name.
        ValueError: an option outside its range.
    """

    def decorate(function: Callable[..., Any]) -> RetryTask[..., Any]:
        return RetryTask(func=function, bind=bind, is_plain=False, **options)

    return decorate if func is None else decorate(func)
