"""Send final failures to Sentry: one event each, made by the SDK from the live exception.

The worker makes the event after the failure is stored; a thread of the SDK sends it. Imported only
where ``sentry_sdk`` is in use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk import Scope
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.scope import use_isolation_scope, use_scope
from sentry_sdk.utils import (  # type: ignore[attr-defined]
    AnnotatedValue,
    event_from_exception,
    iter_event_frames,
    safe_str,
)

from django_retrytasks import conf
from django_retrytasks.backend import backend_of
from django_retrytasks.errors.causes import LINK_LIMIT, linked
from django_retrytasks.errors.fingerprints import fingerprint, origin_of
from django_retrytasks.errors.reports import MESSAGE_LIMIT, class_path, known_class_path, storable
from django_retrytasks.exceptions import AttemptTimedOut, MessageUnavailable
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed
from django_retrytasks.tasks import tracing
from django_retrytasks.tasks.redaction import CUT, secrets_of, shown_arguments, without
from django_retrytasks.tasks.stored import imported

from .mail_filter import DJANGO_LOGGERS, LOGGER, repeats_alert
from .sentry_spans import SentryTracer, trace_id_of

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint

# These keys hold no argument, and Sentry refuses an event in which they are malformed.
PROTOCOL = frozenset({"event_id", "timestamp", "level", "fingerprint", "modules"})
# Local variables must be freed with the failed call. The current stack is not the attempt's. A text
# cut by the SDK may end in half a secret.
OPTIONS = {"include_local_variables": False, "add_full_stack": False, "max_value_length": None}

logger = logging.getLogger(LOGGER)


def connect() -> None:
    """Send each final failure to Sentry once, unless ``RETRYTASKS["SENTRY"]`` is False.

    Called when Django starts. A site that initialises Sentry later than in its settings calls it
    after that. It does nothing before, nor with a ``sentry_sdk`` older than 2.0.
    """
    if not hasattr(sentry_sdk, "is_initialized"):  # new in 2.0
        return
    if sentry_sdk.is_initialized() and conf.get().SENTRY:
        attempt_failed.connect(capture_failure)
        tracing.connect("sentry", SentryTracer())
        Scope.get_global_scope().add_event_processor(_fit_to_send)
        for name in DJANGO_LOGGERS:
            ignore_logger(name)


def capture_failure(*, task: Task, attempt: Attempt, exception: BaseException, **_: Any) -> None:
    """Send a final failure, ignore retried ones: a receiver of ``attempt_failed``."""
    if task.status == Status.FAILED:
        _capture(task, attempt, exception, level="error", fingerprint=[str(task.failure_group_id)])


def capture_attempt(*, task: Task, attempt: Attempt, exception: BaseException, **_: Any) -> None:
    """Send a failed attempt that will be retried; a site may connect it to ``attempt_failed``."""
    if task.status != Status.FAILED:
        path, origin = known_class_path(exception), origin_of(exception, task.name)
        cause = fingerprint(task.name, path, origin, attempt.exception_message)
        _capture(task, attempt, exception, level="warning", fingerprint=[str(cause)])


def _capture(task: Task, attempt: Attempt, exception: BaseException, **details: Any) -> None:
    """Have the SDK make and queue an event; log an error by its class only."""
    try:
        if not (sentry_sdk.is_initialized() and backend_of(task).sends_alerts):
            return
        event, hint = _event_of(exception, attempt.exception_class_path)
        # Read again: the function may have changed its arguments.
        stored = Task.objects.get(pk=task.pk)
        definition = imported(task.name)
        arguments, secrets = shown_arguments(stored, definition), secrets_of(stored, definition)
        # Fresh scopes keep the site's global data, without data of what this process did before.
        with use_isolation_scope(Scope()), use_scope(Scope()) as scope:
            scope.add_event_processor(partial(_clean_event, secrets=secrets))
            sentry_sdk.capture_event(event | _described(task, attempt, arguments) | details, hint)
        # It waits for them at most Sentry's ``shutdown_timeout``.
        tracing.at_end_of_worker(sentry_sdk.flush)
    except Exception as error:
        logger.warning("Task %s: no event for Sentry: %s", task.pk, class_path(type(error)))


def _event_of(exception: BaseException, path: str) -> tuple[Any, Any]:
    """Have the SDK describe an exception; if that fails, describe its class's path only."""
    options = sentry_sdk.get_client().options | OPTIONS
    try:
        if len(list(linked(exception))) < LINK_LIMIT:
            return event_from_exception(exception, options)
    except (KeyboardInterrupt, AttemptTimedOut):
        raise
    except BaseException:  # noqa: S110 -- whatever its __str__ raises
        pass
    return event_from_exception(MessageUnavailable(path), options)


def _described(task: Task, attempt: Attempt, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of an event that describe its Task and attempt."""
    tags = {"task": task.name, "queue_name": task.queue_name, "stop_reason": task.stop_reason}
    about = {"id": str(task.pk), "worker": attempt.worker, "retry_count": attempt.retry_count}
    about["arguments"] = {name: safe_str(value) for name, value in arguments.items()}
    # Groups the events of one Task in Sentry, with its spans if it was traced.
    trace = {"trace_id": trace_id_of(task), "span_id": os.urandom(8).hex()}
    return {
        "transaction": task.name,
        "tags": {name: tag for name, tag in tags.items() if tag} | {"attempt": str(attempt.number)},
        "contexts": {"task": about, "trace": trace},
    }


def _clean_event(event: Any, hint: Hint, *, secrets: list[str]) -> Any:
    """Remove secrets and local variables from an event, as its last processor."""
    try:
        for frame in iter_event_frames(event):
            frame.pop("vars", None)
        trace = event["contexts"].pop("trace")
        content = {key: event[key] for key in event.keys() - PROTOCOL}
        texts: dict[str, str] = {}
        _mapped(content, lambda text: texts.setdefault(text, text))
        cleaned = event | _mapped(content, _cleaner(texts, secrets))
        cleaned["contexts"]["trace"] = trace
    except BaseException:  # if a processor raises, the SDK sends the event uncleaned
        return None
    return cleaned


def _mapped(value: Any, clean: Callable[[str], str]) -> Any:
    """Clean all texts in a part of an event; a number with a secret becomes a text."""
    match value:
        case None | bool():
            return value
        case dict():
            return {str(key): _mapped(item, clean) for key, item in value.items()}
        case list() | tuple():
            return [_mapped(item, clean) for item in value]
        case AnnotatedValue():
            return AnnotatedValue(_mapped(value.value, clean), value.metadata)
    text = clean(safe_str(value))
    return value if isinstance(value, int | float) and text == safe_str(value) else text


def _cleaner(texts: Iterable[str], secrets: list[str]) -> Callable[[str], str]:
    """Return a function that cuts these texts to 4 KB and removes secrets.

    Texts that need no cut are joined and cleaned in one pass, for each pass tries all secrets.
    """
    whole = [t for t in texts if storable(t, MESSAGE_LIMIT) == t and not CUT.search(t)]
    cleaned = without("\0\0".join(whole), secrets).split("\0\0")  # a storable text has no NUL
    by_text = dict(zip(whole, cleaned, strict=True))
    return lambda text: by_text.get(text) or without(storable(text, MESSAGE_LIMIT), secrets)


def _fit_to_send(event: Event, hint: Hint) -> Event | None:
    """Drop events from our log that repeat an alert; remove local variables from the others."""
    record = hint.get("log_record")
    if record is None or record.name != LOGGER:
        return event
    if repeats_alert(record):
        return None
    for frame in iter_event_frames(event):
        frame.pop("vars", None)
    return event
