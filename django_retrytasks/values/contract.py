"""The ``django.tasks`` contract: from Django itself (6.0 and later) or from its backport (5.2).

No other file knows which one is in use.
"""

import logging
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.dispatch import Signal
from django.utils.log import RequireDebugTrue

# What it hands on.
__all__ = [
    "DEFAULT_TASK_BACKEND_ALIAS",
    "DEFAULT_TASK_QUEUE_NAME",
    "TASK_DEFAULTS",
    "TASK_REFRESH_ATTRS",
    "AnyTaskContext",
    "AnyTaskResult",
    "BaseTask",
    "BaseTaskBackend",
    "InvalidTask",
    "Task",
    "TaskContext",
    "TaskError",
    "TaskResult",
    "TaskResultDoesNotExist",
    "TaskResultMismatch",
    "TaskResultStatus",
    "hears_alone",
    "is_heard",
    "is_logged",
    "log_task_enqueued",
    "log_task_finished",
    "log_task_started",
    "signals_logger",
    "task_backends",
    "task_enqueued",
    "task_finished",
    "task_started",
]

if TYPE_CHECKING or find_spec("django.tasks"):
    from django.tasks import (
        DEFAULT_TASK_BACKEND_ALIAS,
        DEFAULT_TASK_QUEUE_NAME,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        task_backends,
    )
    from django.tasks.backends.base import BaseTaskBackend
    from django.tasks.base import TASK_REFRESH_ATTRS, Task, TaskError
    from django.tasks.exceptions import InvalidTask, TaskResultDoesNotExist, TaskResultMismatch
    from django.tasks.signals import (
        log_task_enqueued,
        log_task_finished,
        log_task_started,
        task_enqueued,
        task_finished,
        task_started,
    )
    from django.tasks.signals import logger as signals_logger
elif find_spec("django_tasks"):
    from django_tasks import (
        DEFAULT_TASK_BACKEND_ALIAS,
        DEFAULT_TASK_QUEUE_NAME,
        TaskContext,
        TaskResult,
        TaskResultStatus,
        exceptions,
        task_backends,
    )
    from django_tasks.backends.base import BaseTaskBackend
    from django_tasks.base import TASK_REFRESH_ATTRS, Task, TaskError
    from django_tasks.exceptions import TaskResultDoesNotExist, TaskResultMismatch
    from django_tasks.signals import (
        log_task_enqueued,
        log_task_finished,
        log_task_started,
        task_enqueued,
        task_finished,
        task_started,
    )
    from django_tasks.signals import logger as signals_logger

    # Named InvalidTaskError up to 0.12, InvalidTask as in Django after it.
    InvalidTask = getattr(exceptions, "InvalidTask", None) or exceptions.InvalidTaskError
else:
    raise ImproperlyConfigured(
        "django-retrytasks needs django.tasks, which Django 5.2 has not: install its backport, "
        "pip install 'django-retrytasks[django52]', or use Django 6.0 or later."
    )

# The defaults of a Task's fields, which Django 6.0 gives in ``@task`` alone.
TASK_DEFAULTS: Mapping[str, Any] = {
    "priority": 0,
    "backend": DEFAULT_TASK_BACKEND_ALIAS,
    "queue_name": DEFAULT_TASK_QUEUE_NAME,
    "run_after": None,
}


def hears_alone(log: Callable[..., None], signal: Signal) -> bool:
    """Whether Django's own receiver, which logs a line, is the only one of a signal."""
    return len(signal.receivers) == 1 and signal.receivers[0][0][0] == id(log)


def is_heard(signal: Signal, log: Callable[..., None], level: int) -> bool:
    """Whether anybody hears of a signal: not if Django's log is the only receiver, and is off.

    Args:
        log: Django's receiver of the signal.
        level: the level at which it logs.
    """
    return is_logged(level) or not hears_alone(log, signal)


def is_logged(level: int) -> bool:
    """Whether a handler may write a line of Django's log.

    In production, by default, no handler writes a line of INFO.

    Args:
        level: the level of the line.
    """
    if not signals_logger.isEnabledFor(level):
        return False
    if signals_logger.filters or _is_watched(type(signals_logger)):
        return True
    logger: logging.Logger | None = signals_logger
    while logger:
        if any(level >= handler.level and not _is_shut(handler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _is_watched(logger: type[logging.Logger]) -> bool:
    """Whether other code, such as Sentry's or New Relic's, looks at all lines."""
    handle = logger.callHandlers
    is_own = handle.__module__ == "logging" and not hasattr(handle, "__wrapped__")
    return logger is not logging.Logger or not is_own


def _is_shut(handler: logging.Handler) -> bool:
    """Whether it is a handler for development only, as Django's default ``LOGGING`` has one."""
    return not settings.DEBUG and any(type(each) is RequireDebugTrue for each in handler.filters)


if TYPE_CHECKING:
    BaseTask = Task
    AnyTaskContext = TaskContext[Any, Any]
    AnyTaskResult = TaskResult[Any, Any]
else:

    class BaseTask(Task):
        """The contract's Task, subscriptable as in its type stubs."""

        def __class_getitem__(cls, parameters: Any) -> type:
            return cls

    AnyTaskContext = TaskContext
    AnyTaskResult = TaskResult
