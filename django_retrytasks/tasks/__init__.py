"""Tasks in code: the decorator, the definition, a call's arguments and its result."""

from .decorator import retry_task
from .definition import RetryTask, as_retry_task, site_options, site_policy

__all__ = [
    "RetryTask",
    "as_retry_task",
    "retry_task",
    "site_options",
    "site_policy",
]
