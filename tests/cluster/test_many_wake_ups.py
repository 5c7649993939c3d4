"""Wake-ups that come again and again, and clusters that claim all at once, run no Task twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.db import transaction

from django_retrytasks.broker import wakeups
from django_retrytasks.models import Attempt, Status, Task
from tests.support import tasks
from tests.support.cluster import wait_for
from tests.support.rows import finished, outcomes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rest"),
]
SUCCEEDED, FAILED = Attempt.Outcome.SUCCEEDED, Attempt.Outcome.FAILED


@pytest.mark.usefixtures("hasty_cluster")
class TestHastyCluster:
    def test_task_longer_than_the_clusters_timeout_runs_once(self, noted_in: str) -> None:
        results = [
            tasks.sleeps_noting.enqueue(noted_in, 5),
            tasks.sleeps_noting.using(timeout=8).enqueue(noted_in, 5),
        ]

        rows = [finished(result) for result in results]

        assert [outcomes(row) for row in rows] == [[SUCCEEDED], [SUCCEEDED]]
        assert tasks.noted(noted_in) == ["start", "start", "end", "end"]

    def test_wake_ups_delivered_again_and_again_run_no_task_twice(self, noted_in: str) -> None:
        results = [tasks.sleeps_noting.enqueue(noted_in, 1.5) for _ in range(8)]
        wakeups.write("retrytasks-tests", [wakeups.now()] * 30)

        rows = [finished(result) for result in results]

        assert [outcomes(row) for row in rows] == [[SUCCEEDED]] * 8
        assert sorted(tasks.noted(noted_in)) == ["end"] * 8 + ["start"] * 8


@pytest.mark.usefixtures("three_clusters")
class TestThreeClusters:
    def test_each_of_5000_tasks_runs_once(self, noted_in: str, tell: Callable[[str], None]) -> None:
        start = time.monotonic()
        with transaction.atomic():
            tasks.counts.enqueue_many([(noted_in, number) for number in range(5000)])
            # For every worker, and more, so that all of them claim at once.
            wakeups.write("retrytasks-tests", [wakeups.now()] * 12)
        enqueued = time.monotonic() - start

        wait_for(lambda: not Task.objects.unfinished().exists(), 120)

        tell(f"5,000 Tasks: enqueued in {enqueued:.1f} s, run in {time.monotonic() - start:.1f} s")
        assert tasks.counted(noted_in) == list(range(5000))
        assert Task.objects.filter(status=Status.SUCCEEDED, attempt_count=1).count() == 5000
        assert Attempt.objects.filter(outcome=SUCCEEDED, number=1).count() == 5000
        assert Attempt.objects.count() == 5000
        # More than one cluster has.
        assert len(set(Attempt.objects.values_list("worker", flat=True))) > 2
