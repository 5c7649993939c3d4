"""Metrics for Prometheus, read from the rows at each scrape: a collector, and a view of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.db import Error
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from django_retrytasks.database.seeks import CountOf, evaluate
from django_retrytasks.lifecycle import tallies, workers
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.values.moments import as_instant

from .reading import COUNT_LIMIT, Health, check
from .views import ProbedView

Values = Mapping[str, Iterable[tuple[Sequence[str], float]]]
"""The values of metrics by name: each with the values of its labels."""


class Described(NamedTuple):
    """A metric: what it tells, the names of its labels, and whether it only grows."""

    help: str
    labels: Sequence[str] = ()
    is_counter: bool = False


METRICS = {
    "retrytasks_up": Described("1 if the database told the other metrics, 0 if it did not."),
    "retrytasks_due_tasks": Described(
        "Tasks that could run now; at most 10,000 are counted.", ("queue",)
    ),
    "retrytasks_due_lag_seconds": Described(
        "Seconds since the oldest due Task became due; 0 if none is due or the queue is paused.",
        ("queue",),
    ),
    "retrytasks_queue_paused": Described("1 if the queue is paused.", ("queue",)),
    "retrytasks_paused_functions": Described("Functions that are paused."),
    "retrytasks_running_tasks": Described("Tasks under a claim."),
    "retrytasks_retrying_tasks": Described(
        "Tasks that wait for a retry; at most 10,000 are counted."
    ),
    "retrytasks_failing_groups": Described(
        "Failure groups that are failing; at most 10,000 are counted."
    ),
    "retrytasks_last_claim_timestamp_seconds": Described("Unix time of the last claim."),
    "retrytasks_last_sweep_timestamp_seconds": Described("Unix time of the last sweep."),
    "retrytasks_broken_schedules": Described("Schedules that django-q2 cannot run."),
    "retrytasks_workers": Described("Workers seen within 45 seconds.", ("cluster",)),
    "retrytasks_ended_tasks": Described(
        "Tasks that ended since midnight UTC, up to two minutes late; it starts anew each day.",
        ("outcome",),
        is_counter=True,
    ),
}


class RetryTasksCollector(Collector):
    """Reads the metrics when it is asked, in about ten queries, whatever the number of Tasks.

    Register it once for a registry. No query is made by the registration.
    """

    def describe(self) -> Iterator[Metric]:
        """Yield the metrics without values."""
        for name in METRICS:
            yield _family(name)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; ``retrytasks_up`` alone if the database does not answer."""
        try:
            values = _read()
        except Error:
            values = {"retrytasks_up": [((), 0)]}
        for name, samples in values.items():
            family = _family(name)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


class MetricsView(ProbedView):
    """Answer a scrape with the metrics of this package alone."""

    def get(self, request: HttpRequest) -> HttpResponse:
        registry = CollectorRegistry()
        registry.register(RetryTasksCollector())
        return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _family(name: str) -> Any:
    described = METRICS[name]
    kind = CounterMetricFamily if described.is_counter else GaugeMetricFamily
    return kind(name, described.help, labels=described.labels)


def _read() -> Values:
    health, counts = check(), evaluate(Task.objects.all(), _counts())
    return {
        "retrytasks_up": [((), 1)],
        **_of_health(health),
        "retrytasks_retrying_tasks": [((), counts.get("retrying", 0))],
        "retrytasks_failing_groups": [((), counts.get("failing", 0))],
        "retrytasks_workers": _workers(),
        "retrytasks_ended_tasks": [
            ((name.removesuffix("_count"),), count) for name, count in tallies.of_a_day().items()
        ],
    }


def _of_health(health: Health) -> Values:
    moments = {"claim": health.last_claim_at, "sweep": health.swept_at}
    return {
        "retrytasks_due_tasks": [((q.queue_name,), q.due_count) for q in health.queues],
        "retrytasks_due_lag_seconds": [((q.queue_name,), q.lag) for q in health.queues],
        "retrytasks_queue_paused": [((q.queue_name,), q.is_paused) for q in health.queues],
        "retrytasks_paused_functions": [((), len(health.paused_names))],
        "retrytasks_running_tasks": [((), health.running_count)],
        "retrytasks_broken_schedules": [((), len(health.broken_schedules))],
        **{
            f"retrytasks_last_{name}_timestamp_seconds": [((), as_instant(at).timestamp())]
            for name, at in moments.items()
            if at
        },
    }


def _counts() -> Mapping[str, Any]:
    # A column of the index, so that no row is read.
    retrying = Task.objects.of_status(Status.RETRYING).values("status")[:COUNT_LIMIT]
    failing = FailureGroup.objects.all().failing().values("pk")[:COUNT_LIMIT]
    return {"retrying": CountOf(retrying), "failing": CountOf(failing)}


def _workers() -> Iterable[tuple[Sequence[str], float]]:
    counted = workers.alive().values_list("cluster").annotate(count=Count("pk"))
    return [((cluster,), count) for cluster, count in counted.order_by("cluster")]
