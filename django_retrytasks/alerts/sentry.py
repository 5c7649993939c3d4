"""Final failures in Sentry: one event for each, made from what is stored of it.

It has no live exception to show, so no local variables either: an event carries the traceback's
text, secrets left out. Imported only where ``sentry_sdk`` is in use.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import sentry_sdk
from sentry_sdk import Scope
from sentry_sdk.integrations.logging import ignore_logger
from sentry_sdk.utils import iter_event_frames

from django_retrytasks import conf
from django_retrytasks.backend import backend_of
from django_retrytasks.errors import tracebacks
from django_retrytasks.errors.fingerprints import fingerprint, origin_of
from django_retrytasks.errors.reports import known_class_path
from django_retrytasks.models import Attempt, Task
from django_retrytasks.signals import task_failed
from django_retrytasks.tasks.redaction import CUT, shown_arguments
from django_retrytasks.tasks.stored import imported

from .letters import DJANGO_LOGGERS, LOGGER, repeats_alert

if TYPE_CHECKING:
    from sentry_sdk.types import Event, Hint


__all__ = ["capture_attempt", "capture_failure", "connect"]


def connect() -> None:
    """Have each final failure sent to Sentry, once, unless ``RETRYTASKS["SENTRY"]`` is False.

    Called when Django starts. Where Sentry is initialised later than in the settings, call it
    after that; before, and with a ``sentry_sdk`` older than 2.0, it does nothing.
    """
    if not hasattr(sentry_sdk, "is_initialized"):  # new in 2.0
        return
    if sentry_sdk.is_initialized() and conf.get().SENTRY:
        task_failed.connect(capture_failure)
        Scope.get_global_scope().add_event_processor(_fit_to_send)
        for name in DJANGO_LOGGERS:
            ignore_logger(name)


def capture_failure(*, task: Task, attempt: Attempt, **details: Any) -> None:
    """Send a final failure; a receiver of ``task_failed``.

    Does nothing where Sentry is not initialised, or is told not to send the event, or where the
    Task's backend sends no alerts. An event that is sent again has the same id, by which Sentry
    knows it.

    Raises:
        TimeoutError: it takes longer than Sentry's ``shutdown_timeout``.
        ConnectionError: Sentry was not reached, or refused it.
    """
    if not backend_of(task).sends_alerts:
        return
    with _drops() as reasons:
        _capture(_event(task, attempt, task.failure_group_id, level="error"))
        if not reasons:  # there is nothing to wait for where its queue is full
            sentry_sdk.flush()
            sentry_sdk.flush(timeout=0.1, callback=_refuse)
    if reasons:
        raise ConnectionError(f"Sentry has not taken the event: {', '.join(reasons)}")


def capture_attempt(
    *, task: Task, attempt: Attempt, exception: BaseException, **details: Any
) -> None:
    """Send a failed attempt that is to be retried; for a site to connect to ``attempt_failed``.

    Best effort, as that signal is: it does not wait for Sentry.
    """
    if attempt.next_run_after is None or not backend_of(task).sends_alerts:
        return
    path, origin = known_class_path(exception), origin_of(exception, task.name)
    cause = fingerprint(task.name, path, origin, attempt.exception_message)
    _capture(_event(task, attempt, cause, level="warning"))


def _capture(event: Event) -> None:
    # With what the site says of every event, and not of what this process was at just before.
    scope = Scope.get_global_scope().fork()
    sentry_sdk.get_client().capture_event(event, scope=scope)


@contextmanager
def _drops() -> Iterator[list[str]]:
    """Collect the reasons for which the transport drops events while the body runs.

    Its hook is the only one to hear of them: neither capturing nor flushing tells.
    """
    transport: Any = sentry_sdk.get_client().transport
    reasons: list[str] = []
    told = getattr(transport, "on_dropped_event", None)
    if told is None:
        yield reasons
        return

    def note(reason: str) -> None:
        reasons.append(reason)
        told(reason)

    transport.on_dropped_event = note
    try:
        yield reasons
    finally:
        transport.on_dropped_event = told


def _refuse(pending: int, timeout: float) -> None:
    """Be called by a flush that would have to wait."""
    raise TimeoutError("Sentry has not taken the event in time")


def _fit_to_send(event: Event, hint: Hint) -> Event | None:
    """Drop an event made of a line of our log that repeats another; show no local variables."""
    record = hint.get("log_record")
    if record is None or record.name != LOGGER:
        return event
    if repeats_alert(record):
        return None
    for frame in iter_event_frames(event):
        frame.pop("vars", None)
    return event


def _event(
    task: Task, attempt: Attempt, cause: uuid.UUID | None, *, level: Literal["error", "warning"]
) -> Event:
    event_id = uuid.uuid5(task.pk, str(attempt.number)).hex
    tags = {
        "task": task.name,
        "queue_name": task.queue_name,
        "stop_reason": str(task.stop_reason),
        "attempt": str(attempt.number),
    }
    return {
        "event_id": event_id,
        "timestamp": attempt.finished_at,
        "level": level,
        "logger": LOGGER,
        "transaction": task.name,
        "server_name": attempt.worker.partition(":")[0],
        "fingerprint": [str(cause)],
        "tags": {name: value for name, value in tags.items() if value},
        "contexts": {
            "task": {
                "id": str(task.pk),
                "worker": attempt.worker,
                "retry_count": attempt.retry_count,
                "arguments": shown_arguments(task, imported(task.name)),
            },
            # So that the events of one Task are found together.
            "trace": {"trace_id": task.pk.hex, "span_id": event_id[:16]},
        },
        "exception": {"values": _exceptions(attempt)},
    }


def _exceptions(attempt: Attempt) -> list[dict[str, Any]]:
    """Return an attempt's exception and those that led to it, the first one first."""
    # The lines on both sides of a gap are parts of lines: they belong to no frame.
    text = CUT.sub(lambda gap: gap[0].replace("\n", "\n  "), attempt.traceback)
    last = f"{attempt.exception_class_path}: {attempt.exception_message}"
    return [_exception(raised) for raised in tracebacks.chain(text, last)]


def _exception(raised: tracebacks.Raised) -> dict[str, Any]:
    module, _, name = raised.path.removeprefix("builtins.").rpartition(".")
    frames = [
        {
            "filename": frame.filename,
            "function": frame.function,
            "lineno": frame.lineno,
            "context_line": frame.line,
            "in_app": frame.is_own,
        }
        for frame in raised.frames
    ]
    exception = {"type": name, "module": module or None, "value": raised.message}
    return exception | ({"stacktrace": {"frames": frames}} if frames else {})
