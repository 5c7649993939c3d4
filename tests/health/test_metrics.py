"""What Prometheus is told, what it costs, and the dashboard that shows it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import Error, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.utils import timezone
from django_q.models import Schedule
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from django_retrytasks.health.metrics import METRICS, MetricsView, RetryTasksCollector
from django_retrytasks.lifecycle import pauses, tallies, workers
from django_retrytasks.models import Tally
from tests.docs.book import DOCS, REFERENCE, table_after
from tests.health.test_reading import make_due_for, reads_through
from tests.support import tasks
from tests.support.driver import KEY, Driver

pytestmark = pytest.mark.django_db
urlpatterns = [path("metrics/", MetricsView.as_view())]
DASHBOARD = DOCS / "grafana" / "retrytasks.json"
# The name of a sample in an expression of the dashboard.
NAME = re.compile(r"\bretrytasks_\w+")
EXPOSED = {f"{name}_total" if described.is_counter else name for name, described in METRICS.items()}


def scraped(client: Any) -> dict[tuple[str, ...], float]:
    """Return the samples of a scrape, by name and values of labels."""
    answer = client.get("/metrics/")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    families = text_string_to_metric_families(answer.content.decode())
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *s.labels.values()): s.value for s in samples}


@pytest.fixture(autouse=True)
def urls(settings: Any) -> None:
    settings.ROOT_URLCONF = __name__


class TestMetrics:
    def test_tell_of_queues(self, client: Any) -> None:
        make_due_for(30, *tasks.succeeds.enqueue_many([()] * 3))
        tasks.succeeds.using(queue_name="slow").enqueue()
        pauses.pause(queue_name="slow", by="ada")
        pauses.pause(name=tasks.echoes.name, by="ada")

        told = scraped(client)

        assert told["retrytasks_up",] == 1
        assert told["retrytasks_due_tasks", "default"] == 3
        assert told["retrytasks_due_lag_seconds", "default"] == pytest.approx(30, abs=5)
        assert told["retrytasks_due_lag_seconds", "slow"] == 0
        assert told["retrytasks_queue_paused", "default"] == 0
        assert told["retrytasks_queue_paused", "slow"] == 1
        assert told["retrytasks_paused_functions",] == 1

    def test_tell_of_the_work(self, client: Any, driver: Driver) -> None:
        driver.attempt(tasks.always_fails.enqueue())
        driver.attempt(tasks.fails_once_for_all.enqueue())
        tasks.succeeds.enqueue()
        driver.claim(limit=1)
        # The row is as old as the test session.
        Schedule.objects.update(next_run=timezone.now())
        workers.note("host:1:one", KEY, age=0, idle=None)
        workers.note("host:2:two", KEY, age=0, idle=None)

        told = scraped(client)

        assert told["retrytasks_running_tasks",] == 1
        assert told["retrytasks_retrying_tasks",] == 1
        assert told["retrytasks_failing_groups",] == 1
        assert told["retrytasks_broken_schedules",] == 0
        assert told["retrytasks_workers", KEY] == 2
        now = timezone.now().timestamp()
        assert told["retrytasks_last_claim_timestamp_seconds",] == pytest.approx(now, abs=30)
        assert told["retrytasks_last_sweep_timestamp_seconds",] == pytest.approx(now, abs=90)

    def test_count_the_tasks_that_ended_since_midnight(self, client: Any) -> None:
        noon = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
        for minute, failed in ((-721, 100), (-720, 1), (0, 2), (5, 4)):
            Tally.objects.create(
                minute=noon + timedelta(minutes=minute),
                succeeded_count=10 * failed,
                retried_count=0,
                failed_count=failed,
                expired_count=100 * failed,
            )

        told = scraped(client)

        assert told["retrytasks_ended_tasks_total", "failed"] == 7
        assert told["retrytasks_ended_tasks_total", "succeeded"] == 70
        assert told["retrytasks_ended_tasks_total", "retried"] == 0
        assert told["retrytasks_ended_tasks_total", "expired"] == 700

    def test_count_goes_on_after_midnight_until_the_new_day_has_a_minute(self) -> None:
        midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
        late = {"succeeded_count": 3, "retried_count": 0, "failed_count": 0}
        Tally.objects.create(minute=midnight - timedelta(minutes=1), **late)
        assert tallies.of_a_day()["succeeded_count"] == 3

        Tally.objects.create(minute=midnight, **{**late, "succeeded_count": 1})

        assert tallies.of_a_day()["succeeded_count"] == 1

    def test_site_without_work_has_zeros_and_no_times(self, client: Any) -> None:
        told = scraped(client)

        assert told["retrytasks_running_tasks",] == 0
        assert told["retrytasks_ended_tasks_total", "failed"] == 0
        assert ("retrytasks_last_claim_timestamp_seconds",) not in told

    def test_tell_nothing_but_names_of_queues_and_clusters(
        self, client: Any, driver: Driver
    ) -> None:
        driver.attempt(tasks.echoes.enqueue("s3cr3t"))
        make_due_for(3, tasks.echoes.enqueue("s3cr3t"))

        text = client.get("/metrics/").content.decode()

        assert "s3cr3t" not in text
        assert "echoes" not in text

    def test_database_that_does_not_answer_is_a_metric(
        self, client: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise Error("password s3cr3t refused")

        monkeypatch.setattr(connection, "cursor", refuse)

        assert scraped(client) == {("retrytasks_up",): 0}

    def test_view_runs_outside_of_atomic_requests_and_is_not_cached(self) -> None:
        view: Any = MetricsView.as_view()

        assert view._non_atomic_requests == {"default"}
        assert "no-store" in view(RequestFactory().get("/"))["Cache-Control"]

    def test_registering_makes_no_query(self) -> None:
        registry = CollectorRegistry(auto_describe=True)

        with CaptureQueriesContext(connection) as queries:
            registry.register(RetryTasksCollector())

        assert len(queries) == 0
        assert registry.get_sample_value("retrytasks_up") == 1
        with pytest.raises(ValueError, match="retrytasks_up"):
            registry.register(RetryTasksCollector())


class TestCost:
    @pytest.mark.skipif(
        connection.vendor != "sqlite", reason="other databases choose plans by the rows there are"
    )
    def test_reads_no_large_table_through(self, driver: Driver) -> None:
        driver.attempt(tasks.succeeds.enqueue())
        make_due_for(1, *tasks.succeeds.enqueue_many([()] * 20))
        with CaptureQueriesContext(connection) as queries:
            list(RetryTasksCollector().collect())

        small = ("retrytasks_pause", "retrytasks_worker", "retrytasks_failuregroup")
        told = [query["sql"] for query in queries]
        statements = [sql for sql in told if "retrytasks_" in sql]
        large = [sql for sql in statements if not any(table in sql for table in small)]

        assert len(large) > 3
        assert [sql for sql in large if reads_through(sql)] == []

    def test_takes_as_many_queries_for_many_tasks_as_for_one(self, driver: Driver) -> None:
        def queries() -> int:
            with CaptureQueriesContext(connection) as captured:
                list(RetryTasksCollector().collect())
            return len(captured)

        driver.attempt(tasks.always_fails.enqueue())
        make_due_for(1, tasks.succeeds.enqueue())
        Tally.objects.create(
            minute=timezone.now() - timedelta(minutes=2),
            succeeded_count=1,
            retried_count=0,
            failed_count=0,
        )
        few = queries()
        make_due_for(1, *tasks.succeeds.enqueue_many([()] * 50))

        assert queries() == few <= 12


class TestDocumentation:
    def test_names_each_metric_as_it_is_and_no_other(self) -> None:
        lines = table_after((REFERENCE / "metrics.md").read_text(), "| metric |")

        told = {
            name.strip("`").removesuffix("_total"): (re.findall(r"\w+", labels), meaning)
            for name, labels, meaning in lines
        }
        assert told == {name: (list(m.labels), m.help) for name, m in METRICS.items()}
        assert {name.strip("`") for name, *_ in lines} == EXPOSED

    def test_dashboard_shows_each_metric_there_is_and_no_other(self) -> None:
        board = json.loads(DASHBOARD.read_text())

        expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]

        assert {name for each in expressions for name in NAME.findall(each)} == EXPOSED

    def test_dashboard_groups_by_labels_that_there_are(self) -> None:
        board = json.loads(DASHBOARD.read_text())
        labels = {label for described in METRICS.values() for label in described.labels}

        used = {
            label
            for panel in board["panels"]
            for target in panel["targets"]
            for label in re.findall(r"\{\{(\w+)\}\}|by \((\w+)\)|\{(\w+)=", json.dumps(target))
        }

        assert {name for found in used for name in found if name} == labels

    def test_dashboard_has_no_panel_over_another(self) -> None:
        board = json.loads(DASHBOARD.read_text())

        taken = [
            (x, y)
            for panel in board["panels"]
            for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
        ]

        assert len(taken) == len(set(taken)) > 0
        assert max(x for x, _ in taken) < 24
