"""Who hears of failures besides the log, and what ADMINS are not mailed for each of them.

Django logs each failed task as an error, and mails errors to ADMINS as it comes. The alerts tell of
ten thousand such failures in a few letters, so a filter keeps the others back.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache

from django.conf import settings
from django.utils.log import AdminEmailHandler

from django_retrytasks import conf

LOGGER = "django_retrytasks"
# Django's own; of its backport, on Django 5.2.
DJANGO_LOGGERS = ("django.tasks", "django_tasks")
NOBODY = (
    "ADMINS is empty, and alerts are mailed to nobody else: final failures are told to the log "
    "alone."
)
NOBODY_HINT = 'Set ADMINS, or name another sink in RETRYTASKS["ALERTS"]; [] is for the log alone.'

logger = logging.getLogger(LOGGER)

_is_ours: ContextVar[bool] = ContextVar("_is_ours", default=False)


def connect() -> None:
    """Have the handlers that mail ADMINS leave out what alerts tell.

    Called when Django starts. For a handler that is added later, call it again after that.
    """
    for name in (LOGGER, *DJANGO_LOGGERS):
        for handler in _handlers(name):
            if isinstance(handler, AdminEmailHandler):
                handler.addFilter(is_mailed)


@contextmanager
def about_own_task() -> Iterator[None]:
    """Mark what Django logs in the body as about a Task of ours."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


def is_mailed(record: logging.LogRecord) -> bool:
    """Whether ADMINS are to be mailed a line: a logging filter.

    Not an error about one Task of ours that failed, nor the line of an alert, while alerts reach
    people, unless ``RETRYTASKS["MAIL_EACH_FAILURE"]`` is True.
    """
    if record.levelno < logging.ERROR or not repeats_alert(record):
        return True
    try:
        return conf.get().MAIL_EACH_FAILURE or not alerts_reach_people()
    except Exception:  # settings that cannot be read: system checks say so
        return True


def repeats_alert(record: logging.LogRecord) -> bool:
    """Whether a line is about a Task of ours, as alerts and events are, or is that of an alert."""
    if record.name in DJANGO_LOGGERS:
        return _is_ours.get()
    # Of an internal Task, such as the one that sends the alert, nothing else tells.
    name = getattr(record, "task_name", "")
    is_about_task = bool(name) and not name.startswith(f"{LOGGER}.")
    return record.name == LOGGER and (is_about_task or str(record.msg).startswith("Alert: "))


def alerts_reach_people() -> bool:
    """Whether alerts go anywhere but to the log, and to ADMINS that there are not."""
    to_nobody = {conf.LOG} if settings.ADMINS else {conf.LOG, conf.MAIL_ADMINS}
    return any(sink.path not in to_nobody for sink in conf.get().sinks)


def alerts_reach_nobody() -> bool:
    """Whether alerts are meant for people, but reach none."""
    return bool(conf.get().ALERTS) and not alerts_reach_people()


def warn_of_nobody() -> None:
    """Log, once in each process, that alerts reach nobody, where it is so."""
    if alerts_reach_nobody():
        _warn_once(f"{NOBODY} {NOBODY_HINT}")


@cache
def _warn_once(words: str) -> None:
    logger.warning(words)


def _handlers(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers that an error logged under this name comes to."""
    found: logging.Logger | None = logging.getLogger(name)
    while found:
        yield from found.handlers
        found = found.parent if found.propagate else None
