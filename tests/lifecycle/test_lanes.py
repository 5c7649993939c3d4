"""However many lanes there are: few queries, the order of what is claimed, and nothing stranded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from django_q.models import OrmQ

from django_retrytasks import health, lifecycle, retry_task
from django_retrytasks.lifecycle import lanes, pauses
from django_retrytasks.models import Pause, Status, Task
from django_retrytasks.worker import pace
from tests.lifecycle.test_sweep import plan_of
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, wait_for
from tests.support.driver import KEY, Driver, in_another_session, wake_ups

pytestmark = pytest.mark.django_db

QUEUES = 70
PRIORITIES = (0, 5)


def fill(queues: int, *, each: int = 1, priorities: tuple[int, ...] = PRIORITIES) -> None:
    """Enqueue due Tasks in so many queues, at each priority; the queues take turns."""
    start, number = timezone.now() - timedelta(hours=1), 0
    for _ in range(each):
        for queue in range(queues):
            for priority in priorities:
                number += 1
                moment = start + timedelta(seconds=number)
                of = tasks.echoes.using(
                    queue_name=f"tenant-{queue:03}", priority=priority, run_after=moment
                )
                of.enqueue(number)


def queries_of(act: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    return len(queries)


class TestQueries:
    @pytest.mark.parametrize(
        ("act", "more"),
        [
            pytest.param(lambda: Driver().claim(limit=50), 2, id="claim"),
            pytest.param(lambda: Driver().claim(limit=1), 0, id="claim-of-one"),
            pytest.param(lambda: lifecycle.wake_for_due(KEY), 0, id="wake"),
            pytest.param(lifecycle.sweep, 0, id="sweep"),
            pytest.param(health.check, 0, id="health"),
            pytest.param(lambda: lanes.queue_names(50), 0, id="queue-names"),
            pytest.param(lambda: pauses.resume(name="tests.support.tasks.echoes"), 0, id="resume"),
        ],
    )
    def test_they_are_as_many_for_140_lanes_as_for_two(
        self, act: Callable[[], Any], more: int
    ) -> None:
        fill(1, each=QUEUES)
        few = queries_of(act)
        Task.objects.all().delete()
        OrmQ.objects.all().delete()
        Pause.objects.all().delete()
        fill(QUEUES)

        assert queries_of(act) <= few + more

    def test_a_sweep_rings_for_coming_tasks_of_many_lanes_by_one_query(self) -> None:
        for queue in range(QUEUES):
            soon = timezone.now() + timedelta(seconds=30 + queue)
            tasks.echoes.using(queue_name=f"tenant-{queue:03}", run_after=soon).enqueue(queue)
        OrmQ.objects.all().delete()
        Task.objects.update(wakeup_id=None)

        count = queries_of(lifecycle.sweep)

        assert len(wake_ups()) == QUEUES
        assert count < 30


class TestOrder:
    def test_the_highest_priority_comes_first_over_many_lanes(self, driver: Driver) -> None:
        fill(QUEUES, each=2)

        claimed = list(claims(driver, limit=50))

        priorities = [task.priority for tasks_of_claim in claimed for task in tasks_of_claim]
        assert priorities == [5] * 2 * QUEUES + [0] * 2 * QUEUES

    def test_queues_that_take_turns_are_claimed_from_in_the_order_of_run_after(
        self, driver: Driver
    ) -> None:
        fill(QUEUES, each=3, priorities=(0,))

        numbers = [task.args[0] for of_claim in claims(driver, limit=50) for task in of_claim]

        assert numbers[:50] == list(range(1, 51))
        assert sorted(numbers) == list(range(1, 3 * QUEUES + 1))

    def test_a_queue_whose_tasks_are_older_than_those_of_many_others_comes_first(
        self, driver: Driver
    ) -> None:
        fill(QUEUES, priorities=(0,))
        long_ago = timezone.now() - timedelta(days=1)
        for number in range(120):
            moment = long_ago + timedelta(seconds=number)
            tasks.succeeds.using(queue_name="patient", run_after=moment).enqueue()

        first, second, *_ = claims(driver, limit=50)

        assert {task.queue_name for task in [*first, *second]} == {"patient"}

    def test_what_is_due_at_a_higher_priority_is_not_overtaken_where_a_share_is_all_it_gives(
        self, driver: Driver
    ) -> None:
        fill(20, each=20, priorities=(5,))
        fill(20, each=1, priorities=(0,))

        order = [task.priority for of_claim in claims(driver, limit=50) for task in of_claim]

        assert order == sorted(order, reverse=True)

    def test_one_task_is_the_oldest_of_all_queues(self, driver: Driver) -> None:
        fill(QUEUES, each=2, priorities=(0,))

        numbers = [driver.claim(limit=1).tasks[0].args[0] for _ in range(5)]

        assert numbers == [1, 2, 3, 4, 5]

    @pytest.mark.django_db(transaction=True)
    def test_two_sessions_claim_different_tasks_of_the_same_many_lanes(
        self, driver: Driver
    ) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("one session at a time writes here")
        fill(QUEUES, priorities=(0,))
        # MariaDB, which reads a small table through, has one delete of wake-ups wait for another.
        Task.objects.update(wakeup_id=None)

        with transaction.atomic():
            mine = driver.claim(limit=30)
            theirs = in_another_session(lambda: driver.claim(limit=30)).result()

        assert len(mine.tasks) == len(theirs.tasks) == 30
        assert {task.pk for task in mine.tasks}.isdisjoint(task.pk for task in theirs.tasks)


def claims(driver: Driver, *, limit: int) -> Iterator[list[Task]]:
    """Claim until nothing is due, each time with a new look."""
    while found := driver.claim(limit=limit).tasks:
        yield list(found)


@retry_task
def enqueues_elsewhere(queue_name: str, priority: int, seconds: float) -> None:
    """Enqueue a Task whose wake-up is lost."""
    time.sleep(seconds)
    tasks.succeeds.using(queue_name=queue_name, priority=priority).enqueue()
    OrmQ.objects.all().delete()


class TestSight:
    def test_a_better_task_is_run_before_a_backlog_that_was_seen_first(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch, settings: Any
    ) -> None:
        monkeypatch.setattr(pace.pace, "_mean", None)  # as in a worker that has just started
        settings.RETRYTASKS = {"SLICE": 3}
        tasks.sleeps.enqueue_many([(0.1,)] * 40)
        enqueues_elsewhere.using(priority=1).enqueue("urgent", 50, 0.1)

        driver.run_due()

        assert Task.objects.get(queue_name="urgent").status == Status.SUCCEEDED
        assert Task.objects.unfinished().exists()

    def test_a_task_in_a_queue_that_was_not_there_at_first_is_rung_for(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"SLICE": 0.05}
        enqueues_elsewhere.enqueue("new", 0, 0.1)

        driver.run_due()

        assert Task.objects.get(queue_name="new").status == Status.PENDING
        assert wake_ups()


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_a_cluster_runs_a_few_tasks_of_each_of_200_queues(tmp_path: Path) -> None:
    fill(200, each=3, priorities=(0,))

    with running_cluster(tmp_path / "log"):
        wait_for(is_idle, 60)

    assert Task.objects.filter(status=Status.SUCCEEDED, attempt_count=1).count() == 600
    assert set(Task.objects.values_list("status", flat=True)) == {Status.SUCCEEDED}


class TestSurvey:
    """What a look costs beside many rows that are of no concern to it."""

    def test_it_tells_the_oldest_of_each_lane(self, driver: Driver) -> None:
        driver.task_in(Status.SUCCEEDED)
        early = timezone.now().replace(microsecond=0) - timedelta(hours=1)
        late = early + timedelta(days=1)
        for queue_name, priority, moment in [
            ("b", 0, late),
            ("a", 1, late),
            ("a", 1, early),
            ("a", -1, late),
            ("slow", 0, early),
        ]:
            of = tasks.echoes.using(queue_name=queue_name, priority=priority, run_after=moment)
            of.enqueue(1)

        seen = lanes.survey()

        assert seen.oldest == {
            ("a", -1): late,
            ("a", 1): early,
            ("b", 0): late,
            ("slow", 0): early,
        }
        assert list(seen.for_cluster(KEY).due) == [("a", 1)]
        assert list(seen.for_cluster("slow").due) == [("slow", 0)]
        assert seen.for_cluster("slow").wait == pytest.approx(-3600, abs=30)

    def test_without_unfinished_tasks_there_are_none(self, driver: Driver) -> None:
        driver.task_in(Status.SUCCEEDED)

        seen = lanes.survey()

        assert (seen.oldest, seen.at, seen.wait, seen.lag) == ({}, None, None, 0)

    # MariaDB commits when it takes its statistics.
    @pytest.mark.django_db(transaction=True)
    def test_it_reads_two_places_of_the_index_for_each_lane(self) -> None:
        later = timezone.now() + timedelta(days=1)
        tasks.succeeds.using(run_after=later).enqueue_many([()] * 2000)
        tasks.succeeds.using(queue_name="mail", run_after=later).enqueue_many([()] * 1000)
        if connection.vendor == "mysql":
            # It chooses by statistics, which it takes anew in the background.
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE TABLE retrytasks_task")

        with CaptureQueriesContext(connection) as queries:
            lanes.survey(lanes.NOTHING_PAUSED)

        [query] = queries.captured_queries
        plan = plan_of(query["sql"])
        for step in STEPS_OF_THE_INDEX[connection.vendor]:
            assert step in plan
        assert "Seq Scan" not in plan


# What stands in the plan of a query that goes from each lane to the next by the claim's index.
STEPS_OF_THE_INDEX = {
    "sqlite": [
        "retrytasks_due (queue_name=? AND priority>?)",
        "retrytasks_due (queue_name>?)",
    ],
    "postgresql": ["using retrytasks_due", "priority >", "(queue_name)::text > "],
    "mysql": ["range retrytasks_due Using index for group-by"],
}
