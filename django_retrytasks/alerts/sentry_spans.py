"""Trace by Sentry: the spans of its page of queues, of each enqueue and each attempt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import sentry_sdk
from sentry_sdk.tracing import TransactionSource
from sentry_sdk.tracing_utils import has_tracing_enabled

from django_retrytasks.models import Task
from django_retrytasks.tasks.tracing import End, headers_of
from django_retrytasks.values import moments

ORIGIN = "auto.queue.django_retrytasks"


class SentryTracer:
    """Makes spans by Sentry's conventions for queues, where the site has tracing on."""

    def begin_enqueue(
        self, task: Any, rows: Sequence[Task] | None
    ) -> tuple[Mapping[str, str], End]:
        """Begin a span ``queue.publish``, within the caller's transaction."""
        if not _is_on():
            return {}, _nothing
        span = sentry_sdk.start_span(op="queue.publish", name=task.module_path, origin=ORIGIN)
        span.set_data("messaging.destination.name", task.queue_name)
        if rows is not None and len(rows) == 1:
            span.set_data("messaging.message.id", str(rows[0].pk))
        stack = ExitStack()
        stack.enter_context(span)
        headers = {
            "sentry-trace": sentry_sdk.get_traceparent(),
            "baggage": sentry_sdk.get_baggage(),
        }
        return {name: text for name, text in headers.items() if text}, _ending(stack, span)

    def begin_attempt(self, row: Task) -> End:
        """Begin a transaction in the trace of the enqueue, and in it a span ``queue.process``."""
        if not _is_on():
            return _nothing
        stack = ExitStack()
        stack.enter_context(sentry_sdk.isolation_scope()).clear_breadcrumbs()
        transaction = sentry_sdk.continue_trace(
            headers_of(row),
            op="queue.task.django_retrytasks",
            name=row.name,
            source=TransactionSource.TASK,
            origin=ORIGIN,
        )
        sampling = {"retrytasks": {"task": row.name, "queue_name": row.queue_name}}
        stack.enter_context(
            sentry_sdk.start_transaction(transaction, custom_sampling_context=sampling)
        )
        span = sentry_sdk.start_span(op="queue.process", name=row.name, origin=ORIGIN)
        for name, value in _described(row).items():
            span.set_data(name, value)
        stack.enter_context(span)
        return _ending(stack, span, transaction)


def trace_id_of(row: Task) -> str:
    """Return the id of the trace that a Task's event belongs to: its enqueue's, or its own."""
    trace_id = headers_of(row).get("sentry-trace", "").partition("-")[0]
    is_valid = len(trace_id) == 32 and set(trace_id) <= set("0123456789abcdef")
    return trace_id if is_valid else row.pk.hex


def _is_on() -> bool:
    return has_tracing_enabled(sentry_sdk.get_client().options)


def _described(row: Task) -> dict[str, Any]:
    described: dict[str, Any] = {
        "messaging.message.id": str(row.pk),
        "messaging.destination.name": row.queue_name,
        "messaging.message.retry.count": row.retry_count,
    }
    if row.claimed_at is not None:
        waited = moments.between(row.queued_at, row.claimed_at).total_seconds()
        described["messaging.message.receive.latency"] = 1000 * max(0.0, waited)
    return described


def _ending(stack: ExitStack, *spans: Any) -> End:
    def end(failure: BaseException | None) -> None:
        with stack:
            for span in spans:
                span.set_status("ok" if failure is None else "internal_error")

    return end


def _nothing(failure: BaseException | None) -> None:
    pass
