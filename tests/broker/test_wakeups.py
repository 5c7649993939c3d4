"""Wake-ups: the rows by which a stock django-q2 cluster is made to look for due Tasks."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_q.brokers.orm import ORM
from django_q.models import OrmQ, Schedule
from django_q.signing import SignedPackage
from django_q.utils import get_func_repr

from django_retrytasks import database, worker
from django_retrytasks.broker import clusters, sweep_schedule, wakeups
from tests.support import tasks
from tests.support.driver import KEY, Driver, wake_ups

pytestmark = pytest.mark.django_db

MARGIN = timedelta(seconds=10)


class TestRinging:
    def test_the_brokers_own_dequeue_finds_a_wake_up_when_its_moment_has_come(self) -> None:
        wakeups.write(KEY, [wakeups.now()])
        wakeups.write(KEY, [wakeups.later(60, timezone.now())])

        pulled = ORM(KEY).dequeue()

        assert len(pulled) == 1

    def test_what_it_carries_are_a_constant_function_and_plain_values(self) -> None:
        due = datetime(2030, 1, 1, tzinfo=UTC)
        wakeups.write(KEY, [wakeups.Wake(due, due), wakeups.now()])

        soon, later = (SignedPackage.loads(wake.payload) for wake in wake_ups())

        assert soon["func"] == later["func"] == "django_retrytasks.worker.run"
        assert (soon["args"], later["args"]) == ((KEY, None), (KEY, due.timestamp()))
        assert (soon["timeout"], soon["save"], soon["kwargs"]) == (-1, False, {})
        assert get_func_repr(soon["func"]) == "django_retrytasks.worker.run"

    def test_running_what_was_pulled_serves_the_tasks(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        [(_, payload)] = ORM(KEY).dequeue()

        package = SignedPackage.loads(payload)
        worker.run(*package["args"], **package["kwargs"])

        assert driver.row(result).status == "SUCCEEDED"

    def test_nothing_to_delete_asks_nothing(
        self, django_assert_num_queries: Callable[[int], Any]
    ) -> None:
        with django_assert_num_queries(0):
            wakeups.delete([None, None])

    def test_only_rows_that_can_be_pulled_now_are_counted(self) -> None:
        wakeups.write(KEY, [wakeups.now(), wakeups.now()])
        wakeups.write("slow", [wakeups.now()])
        wakeups.write(KEY, [wakeups.later(60, timezone.now())])

        assert wakeups.waiting_count(KEY) == 2


class TestEnqueueRings:
    def test_for_the_cluster_that_serves_the_queue(self, driver: Driver) -> None:
        task = driver.row(tasks.echoes.enqueue(1))
        slow = driver.row(tasks.echoes.using(queue_name="slow").enqueue(1))

        assert [wake.pk for wake in wake_ups()] == [task.wakeup_id]
        assert [wake.pk for wake in wake_ups("slow")] == [slow.wakeup_id]

    def test_at_the_moment_of_a_run_after_within_two_minutes(self) -> None:
        moment = timezone.now() + timedelta(seconds=100)

        tasks.echoes.using(run_after=moment).enqueue(1)

        assert [wake.lock for wake in wake_ups()] == [moment]

    def test_not_for_a_run_after_further_ahead(self) -> None:
        tasks.echoes.using(run_after=timezone.now() + timedelta(seconds=130)).enqueue(1)

        assert wake_ups() == []

    def test_once_for_each_worker_where_many_are_due_at_one_moment(self) -> None:
        tasks.echoes.enqueue_many([(n,) for n in range(20)])

        assert len(wake_ups()) == 2


class TestKeys:
    @pytest.mark.parametrize(
        ("cluster", "queue_name", "key"),
        [
            ({"name": "main"}, "default", "main"),
            ({"name": "main"}, "anything", "main"),
            ({"name": "main", "ALT_CLUSTERS": {"slow": {}}}, "slow", "slow"),
            ({"name": "main", "ALT_CLUSTERS": {"slow": {}}}, "quick", "main"),
            ({"cluster_name": "named", "name": "main"}, "default", "named"),
            ({}, "default", "default"),
            (None, "default", "default"),
        ],
    )
    def test_a_queue_of_no_cluster_of_its_own_is_served_by_the_default_one(
        self, settings: Any, cluster: Any, queue_name: str, key: str
    ) -> None:
        settings.Q_CLUSTER = cluster

        assert clusters.key_for(queue_name) == key

    @pytest.mark.parametrize("cluster", [{}, {"orm": None}, None])
    def test_without_orm_the_default_database_is_meant(self, settings: Any, cluster: Any) -> None:
        settings.Q_CLUSTER = cluster

        assert database.alias() == "default"


class TestSchedule:
    def test_migrate_makes_one_schedule_that_sweeps_every_minute(self) -> None:
        Schedule.objects.all().delete()

        call_command("migrate", verbosity=0)
        call_command("migrate", verbosity=0)

        schedule = Schedule.objects.get()
        assert (schedule.func, schedule.minutes) == ("django_retrytasks.worker.sweep", 1)
        assert (schedule.schedule_type, schedule.repeats) == (Schedule.MINUTES, -1)
        assert sweep_schedule.has_sweep()

    def test_what_an_operator_changed_is_kept(self) -> None:
        Schedule.objects.update(minutes=5)

        sweep_schedule.ensure_sweep()

        assert Schedule.objects.get().minutes == 5

    @pytest.mark.parametrize("change", ["deleted", "switched off"])
    def test_a_sweep_that_will_not_run_is_noticed(self, change: str) -> None:
        if change == "deleted":
            Schedule.objects.all().delete()
        else:
            Schedule.objects.update(repeats=0)

        assert sweep_schedule.has_sweep() is False

    def test_what_it_calls_mends_a_purged_queue(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1)
        OrmQ.objects.all().delete()

        worker.sweep()
        [(_, payload)] = ORM(KEY).dequeue()
        worker.run(*SignedPackage.loads(payload)["args"])

        assert driver.row(result).status == "SUCCEEDED"
