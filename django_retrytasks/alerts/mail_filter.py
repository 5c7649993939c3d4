"""Keep errors that repeat an alert out of the mail to ADMINS; warn if alerts reach nobody.

Django logs each failed task as an error and, by default, mails errors to ADMINS. Alerts report ten
thousand such failures in a few mails, so a logging filter drops the repeats.
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
# Django's own, and the backport's on Django 5.2.
DJANGO_LOGGERS = ("django.tasks", "django_tasks")
NOBODY = "ADMINS is empty, and no other sink is set: only the log reports final failures."
NOBODY_HINT = 'Set ADMINS, or name another sink in RETRYTASKS["ALERTS"]; [] means the log only.'

logger = logging.getLogger(LOGGER)

_is_ours: ContextVar[bool] = ContextVar("_is_ours", default=False)


def connect() -> None:
    """Add :func:`is_mailed` to the handlers that mail ADMINS.

    Called when Django starts. After adding a handler later, call it again.
    """
    for name in (LOGGER, *DJANGO_LOGGERS):
        for handler in _handlers(name):
            if isinstance(handler, AdminEmailHandler):
                handler.addFilter(is_mailed)


@contextmanager
def about_own_task() -> Iterator[None]:
    """Mark what Django logs in the body as about one of our Tasks."""
    token = _is_ours.set(True)
    try:
        yield
    finally:
        _is_ours.reset(token)


def is_mailed(record: logging.LogRecord) -> bool:
    """Whether a record may be mailed to ADMINS: a logging filter.

    False for a failure of one of our Tasks and for an alert's own record, while alerts reach
    people and ``RETRYTASKS["MAIL_EACH_FAILURE"]`` is False.
    """
    if record.levelno < logging.ERROR or not repeats_alert(record):
        return True
    try:
        return conf.get().MAIL_EACH_FAILURE or not alerts_reach_people()
    except Exception:  # invalid settings: system checks report them
        return True


def repeats_alert(record: logging.LogRecord) -> bool:
    """Whether a record is about one of our Tasks, or is an alert's own."""
    if record.name in DJANGO_LOGGERS:
        return _is_ours.get()
    # No alert reports the failure of an internal Task, such as the one that sends the alert.
    name = getattr(record, "task_name", "")
    is_about_task = bool(name) and not name.startswith(f"{LOGGER}.")
    return record.name == LOGGER and (is_about_task or str(record.msg).startswith("Alert: "))


def alerts_reach_people() -> bool:
    """Whether any sink but the log is set; ``mail_admins`` counts only with ADMINS."""
    to_nobody = {conf.LOG} if settings.ADMINS else {conf.LOG, conf.MAIL_ADMINS}
    return any(sink.path not in to_nobody for sink in conf.get().sinks)


def alerts_reach_nobody() -> bool:
    """Whether sinks are set, but none reaches anybody."""
    return bool(conf.get().ALERTS) and not alerts_reach_people()


def warn_of_nobody() -> None:
    """Log a warning, once per process, if alerts reach nobody."""
    if alerts_reach_nobody():
        _warn_once(f"{NOBODY} {NOBODY_HINT}")


@cache
def _warn_once(message: str) -> None:
    logger.warning(message)


def _handlers(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers of a logger and of the parents it propagates to."""
    source: logging.Logger | None = logging.getLogger(name)
    while source:
        yield from source.handlers
        source = source.parent if source.propagate else None
