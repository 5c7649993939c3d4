"""Trace by OpenTelemetry: one trace from the enqueue of a Task through all its attempts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_retrytasks import conf
from django_retrytasks.errors.reports import known_class_path
from django_retrytasks.models import Task
from django_retrytasks.tasks import tracing
from django_retrytasks.tasks.tracing import End, headers_of

SYSTEM = "django_retrytasks"
# W3C's headers alone: baggage is the site's, and a row is no place for it.
HEADERS = TraceContextTextMapPropagator()


def connect() -> None:
    """Make spans by the site's tracer provider, unless ``RETRYTASKS["OTEL"]`` is False.

    Called when Django starts, where OpenTelemetry is imported by then. A site that imports it later
    calls it after that.
    """
    tracing.connect("opentelemetry", OtelTracer() if conf.get().OTEL else None)


class OtelTracer:
    """Makes spans by the semantic conventions for messaging."""

    def begin_enqueue(
        self, task: Any, rows: Sequence[Task] | None
    ) -> tuple[Mapping[str, str], End]:
        """Begin a producer's span, within the caller's."""
        if not _is_on():
            return {}, _nothing
        attributes = _described("enqueue", "send", task.queue_name, task.module_path)
        if rows is not None and len(rows) == 1:
            attributes["messaging.message.id"] = str(rows[0].pk)
        elif rows is not None:
            attributes["messaging.batch.message_count"] = len(rows)
        span = _tracer().start_span(
            f"enqueue {task.queue_name}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        current, headers = trace.set_span_in_context(span), dict[str, str]()
        HEADERS.inject(headers, context=current)
        return headers, _ending(span, current)

    def begin_attempt(self, row: Task) -> End:
        """Begin a consumer's span, within the span of the enqueue."""
        if not _is_on():
            return _nothing
        attributes = _described("process", "process", row.queue_name, row.name) | {
            "messaging.message.id": str(row.pk),
            "retrytasks.attempt": row.attempt_count + 1,
            "retrytasks.retry_count": row.retry_count,
        }
        parent = HEADERS.extract(headers_of(row), context=Context())
        span = _tracer().start_span(
            f"process {row.queue_name}",
            context=parent,
            kind=SpanKind.CONSUMER,
            attributes=attributes,
        )
        flush = getattr(trace.get_tracer_provider(), "force_flush", None)
        if flush is not None:
            tracing.at_end_of_worker(flush)
        return _ending(span, trace.set_span_in_context(span, parent))


def _is_on() -> bool:
    """Whether the site has a tracer provider: without one, spans would go nowhere."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _tracer() -> trace.Tracer:
    return trace.get_tracer(SYSTEM)


def _described(name: str, kind: str, queue_name: str, function: str) -> dict[str, str | int]:
    return {
        "messaging.system": SYSTEM,
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": queue_name,
        "code.function.name": function,
    }


def _ending(span: Span, current: Context) -> End:
    """Make a span the current one; return its end."""
    token = contexts.attach(current)

    def end(failure: BaseException | None) -> None:
        if failure is not None:
            # Neither the message nor the traceback: they may hold a secret.
            span.set_attribute("error.type", known_class_path(failure))
            span.set_status(StatusCode.ERROR)
        contexts.detach(token)
        span.end()

    return end


def _nothing(failure: BaseException | None) -> None:
    pass
