"""The spans of Sentry's page of queues, and the trace that an event belongs to."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sentry_sdk

from django_retrytasks.alerts.sentry import connect
from django_retrytasks.models import Status, Task
from tests.alerts.sentry.stage import SECRET, Sent, initialised, pays
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def traced() -> Sent:
    """Return what Sentry is sent, with tracing on."""
    sent = initialised(traces_sample_rate=1.0)
    connect()
    return sent


def transactions(sent: Sent) -> list[dict[str, Any]]:
    found = [one.get_transaction_event() for one in sent.envelopes]
    return [dict(event) for event in found if event]


def trace_of(event: dict[str, Any]) -> dict[str, Any]:
    context: dict[str, Any] = event["contexts"]["trace"]
    return context


class TestSpans:
    def test_enqueue_and_attempts_are_of_one_trace(self, driver: Driver, traced: Sent) -> None:
        with sentry_sdk.start_transaction(name="request", op="http.server"):
            result = tasks.fails_twice.enqueue()
        driver.run_due()

        request, *attempts = transactions(traced)

        assert len({trace_of(one)["trace_id"] for one in (request, *attempts)}) == 1
        [publish] = [span for span in request["spans"] if span["op"] == "queue.publish"]
        assert publish["description"] == "tests.support.tasks.fails_twice"
        assert publish["data"]["messaging.destination.name"] == "default"
        assert publish["data"]["messaging.message.id"] == result.id
        assert [trace_of(one)["parent_span_id"] for one in attempts] == [publish["span_id"]] * 3
        assert [trace_of(one)["status"] for one in attempts] == [
            "internal_error",
            "internal_error",
            "ok",
        ]
        assert {one["transaction"] for one in attempts} == {"tests.support.tasks.fails_twice"}

    def test_attempt_has_what_the_page_of_queues_reads(self, driver: Driver, traced: Sent) -> None:
        with sentry_sdk.start_transaction(name="request"):
            result = tasks.fails_twice.using(max_retries=1).enqueue()
        driver.run_due()

        [process] = transactions(traced)[-1]["spans"]

        assert process["op"] == "queue.process"
        data = process["data"]
        assert data["messaging.message.id"] == result.id
        assert data["messaging.destination.name"] == "default"
        assert data["messaging.message.retry.count"] == 1
        assert 0 <= data["messaging.message.receive.latency"] < 60_000

    def test_neither_has_an_argument(self, driver: Driver, traced: Sent) -> None:
        with sentry_sdk.start_transaction(name="request"):
            pays.enqueue(SECRET, password=SECRET)
        driver.run_due()

        sent = transactions(traced)
        assert len(sent) == 2
        assert SECRET not in json.dumps(sent)

    def test_event_of_a_failure_is_of_the_trace_of_its_enqueue(
        self, driver: Driver, traced: Sent
    ) -> None:
        with sentry_sdk.start_transaction(name="request") as request:
            tasks.fails_once_for_all.enqueue()
        driver.run_due()

        [event] = traced.events
        assert trace_of(event)["trace_id"] == request.trace_id

    @pytest.mark.parametrize("headers", [[], {"sentry-trace": 5}, {"sentry-trace": "x-y"}, "x"])
    def test_headers_written_by_hand_cost_nothing(
        self, driver: Driver, traced: Sent, headers: Any
    ) -> None:
        results = [tasks.succeeds.enqueue(), tasks.fails_once_for_all.enqueue()]
        Task.objects.update(trace=headers)

        driver.run_due()

        assert [driver.row(one).status for one in results] == [Status.SUCCEEDED, Status.FAILED]
        assert [trace_of(event)["trace_id"] for event in traced.events] == [
            results[1].id.replace("-", "")
        ]


class TestOff:
    def test_nothing_is_stored_or_sent_without_tracing(self, driver: Driver, sentry: Sent) -> None:
        result = tasks.succeeds.enqueue()
        driver.run_due()

        assert driver.row(result).trace is None
        assert sentry.envelopes == []

    def test_setting_turns_it_off(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"SENTRY": False}
        sent = initialised(traces_sample_rate=1.0)
        connect()
        result = tasks.succeeds.enqueue()
        driver.run_due()

        assert driver.row(result).trace is None
        assert sent.envelopes == []

    def test_scope_of_the_process_is_as_it_was(self, driver: Driver, traced: Sent) -> None:
        before = sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_span()
        tasks.succeeds.enqueue()

        driver.run_due()

        assert (sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_span()) == before
