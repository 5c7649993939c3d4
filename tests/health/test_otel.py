"""One trace from the enqueue of a Task through all its attempts, by OpenTelemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from django_retrytasks.health import otel
from django_retrytasks.models import Status, Task
from django_retrytasks.tasks import tracing
from django_retrytasks.worker.pace import pace
from tests.support import tasks, tracing_tasks
from tests.support.cluster import running_cluster, wait_for
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)
EXPORTER = InMemorySpanExporter()
PROVIDER = TracerProvider()
PROVIDER.add_span_processor(SimpleSpanProcessor(EXPORTER))


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Give the process a tracer provider, as a site does, and connect."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", PROVIDER)
    otel.connect()
    yield EXPORTER
    tracing.connect("opentelemetry", None)
    EXPORTER.clear()


def spans(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    """Return the spans that have ended, in the order of their starts."""
    return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)


def parent_of(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


class TestTrace:
    def test_leads_from_the_callers_span_through_every_attempt(
        self, driver: Driver, exporter: InMemorySpanExporter
    ) -> None:
        with trace.get_tracer("site").start_as_current_span("request"):
            result = tasks.fails_twice.enqueue()
        driver.run_due()

        request, enqueue, *attempts = spans(exporter)

        assert len({span.context.trace_id for span in (request, enqueue, *attempts)}) == 1
        assert parent_of(enqueue) == request.context.span_id
        assert {parent_of(span) for span in attempts} == {enqueue.context.span_id}
        assert (enqueue.name, enqueue.kind) == ("enqueue default", SpanKind.PRODUCER)
        assert dict(enqueue.attributes or {}) == {
            "messaging.system": "django_retrytasks",
            "messaging.operation.name": "enqueue",
            "messaging.operation.type": "send",
            "messaging.destination.name": "default",
            "messaging.message.id": result.id,
            "code.function.name": "tests.support.tasks.fails_twice",
        }
        assert {(span.name, span.kind) for span in attempts} == {
            ("process default", SpanKind.CONSUMER)
        }
        assert dict(attempts[1].attributes or {}) == {
            "messaging.system": "django_retrytasks",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": "default",
            "messaging.message.id": result.id,
            "code.function.name": "tests.support.tasks.fails_twice",
            "retrytasks.attempt": 2,
            "retrytasks.retry_count": 1,
            "error.type": "builtins.ConnectionError",
        }
        codes = [span.status.status_code for span in attempts]
        assert codes == [StatusCode.ERROR, StatusCode.ERROR, StatusCode.UNSET]

    @pytest.mark.parametrize("name", ["spans", "spans_async", "spans_beside_others"])
    def test_spans_of_the_function_are_within_its_attempts(
        self, driver: Driver, exporter: InMemorySpanExporter, name: str
    ) -> None:
        for _ in range(60):
            pace.note(0.0001)
        getattr(tracing_tasks, name).enqueue_many([()] * 3)

        driver.run_due()

        ended = spans(exporter)
        by_id = {span.context.span_id: span for span in ended}
        inner = [span for span in ended if span.name == "inner"]
        assert [by_id[parent_of(span) or 0].name for span in inner] == ["process default"] * 3
        assert len({parent_of(span) for span in inner}) == 3

    def test_many_tasks_of_one_enqueue_share_its_span(
        self, driver: Driver, exporter: InMemorySpanExporter
    ) -> None:
        tasks.succeeds.enqueue_many([()] * 3)
        tasks.succeeds.enqueue_many((() for _ in range(3)), results=False)

        driver.run_due()

        known, streamed, *attempts = spans(exporter)
        attributes = known.attributes or {}
        assert attributes["messaging.batch.message_count"] == 3
        assert "messaging.message.id" not in attributes
        parents = [parent_of(span) for span in attempts]
        assert parents.count(known.context.span_id) == 3
        assert parents.count(streamed.context.span_id) == 3

    def test_neither_a_snooze_a_discard_nor_a_cancel_is_an_error(
        self, driver: Driver, exporter: InMemorySpanExporter
    ) -> None:
        tasks.snoozes_once.enqueue()
        tasks.discards.enqueue()
        tracing_tasks.is_cancelled.enqueue()

        driver.run_due()

        attempts = [span for span in spans(exporter) if span.kind is SpanKind.CONSUMER]
        assert [span.status.status_code for span in attempts] == [StatusCode.UNSET] * 3

    def test_failed_enqueue_is_an_error(self, exporter: InMemorySpanExporter) -> None:
        def calls() -> Iterator[tuple[()]]:
            yield ()
            raise LookupError("s3cr3t")

        with pytest.raises(LookupError):
            tasks.succeeds.enqueue_many(calls(), results=False)

        [span] = spans(exporter)
        assert span.status.status_code is StatusCode.ERROR
        assert (span.attributes or {})["error.type"] == "builtins.LookupError"
        assert Task.objects.count() == 0

    def test_has_no_argument_and_no_message(
        self, driver: Driver, exporter: InMemorySpanExporter
    ) -> None:
        tasks.always_fails.using(max_retries=0).enqueue("s3cr3t")

        driver.run_due()

        told = "".join(span.to_json() for span in spans(exporter))
        assert "ConnectionError" in told
        assert "s3cr3t" not in told

    def test_internal_tasks_have_none(self, driver: Driver, exporter: InMemorySpanExporter) -> None:
        tasks.fails_once_for_all.enqueue()

        assert driver.run_internal()

        assert len(spans(exporter)) == 2


class TestOff:
    def test_nothing_is_stored_without_a_tracer_provider(self, driver: Driver) -> None:
        otel.connect()
        try:
            result = tasks.succeeds.enqueue()
            driver.run_due()
        finally:
            tracing.connect("opentelemetry", None)

        assert driver.row(result).trace is None
        assert driver.row(result).status == Status.SUCCEEDED

    def test_setting_turns_it_off(
        self, driver: Driver, exporter: InMemorySpanExporter, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"OTEL": False}
        otel.connect()
        result = tasks.succeeds.enqueue()

        driver.run_due()

        assert driver.row(result).trace is None
        assert spans(exporter) == []

    def test_costs_no_statement(self, driver: Driver, exporter: InMemorySpanExporter) -> None:
        def statements() -> int:
            with CaptureQueriesContext(connection) as captured:
                tasks.succeeds.enqueue()
            return len(captured)

        traced = statements()
        tracing.connect("opentelemetry", None)

        assert statements() == traced > 0

    def test_is_connected_where_the_site_has_imported_it(self) -> None:
        code = (
            "{}import django; django.setup(); from django_retrytasks.tasks import tracing; "
            "print(sorted(tracing._tracers))"
        )
        told = [
            subprocess.run(
                [sys.executable, "-c", code.format(first)],
                capture_output=True,
                text=True,
                timeout=60,
            ).stdout.strip()
            for first in ("", "import opentelemetry.trace; ")
        ]

        assert told == ["[]", "['opentelemetry']"]


class Hostile(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("s3cr3t")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("s3cr3t")


class TestHostile:
    def test_errors_of_a_processor_cost_nothing(
        self,
        driver: Driver,
        exporter: InMemorySpanExporter,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        provider = TracerProvider()
        provider.add_span_processor(Hostile())
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
        results = [tasks.fails_twice.enqueue(), tasks.succeeds.enqueue()]

        driver.run_due()

        assert {driver.row(result).status for result in results} == {Status.SUCCEEDED}
        assert "A trace is incomplete: builtins.RuntimeError" in caplog.text
        assert "s3cr3t" not in caplog.text

    @pytest.mark.parametrize("headers", [[], {"traceparent": 5}, {"traceparent": "x"}, "x", 7])
    def test_headers_written_by_hand_cost_nothing(
        self, driver: Driver, exporter: InMemorySpanExporter, headers: Any
    ) -> None:
        result = tasks.succeeds.enqueue()
        Task.objects.update(trace=headers)

        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED


@pytest.mark.cluster
def test_worker_of_a_cluster_sends_its_spans_when_it_ends(
    driver: Driver, exporter: InMemorySpanExporter, tmp_path: Path
) -> None:
    file, site = tmp_path / "spans", "tests.support.settings.otel"
    with running_cluster(tmp_path / "log", DJANGO_SETTINGS_MODULE=site, SPANS=str(file)):
        result = tasks.fails_twice.enqueue()
        wait_for(lambda: driver.row(result).status == Status.SUCCEEDED)

    [enqueue] = spans(exporter)
    written = [json.loads(line) for line in file.read_text().splitlines()]
    attempts = [one for one in written if one["name"] == "process default"]
    assert sorted(one["attributes"]["retrytasks.attempt"] for one in attempts) == [1, 2, 3]
    assert {one["parent_id"] for one in attempts} == {f"0x{enqueue.context.span_id:016x}"}
    assert {one["context"]["trace_id"] for one in attempts} == {
        f"0x{enqueue.context.trace_id:032x}"
    }
