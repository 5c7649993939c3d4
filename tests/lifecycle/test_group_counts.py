"""Failure groups: what is counted."""

from __future__ import annotations

import uuid
from threading import Barrier
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.errors.reports import report
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.groups import Failed
from django_retrytasks.models import FailureGroup, Status, Task
from django_retrytasks.worker.attempt import AttemptRun
from tests.support import tasks
from tests.support.driver import Driver, in_another_session
from tests.support.shop import HERE, fail, sends, the_group
from tests.support.shop import shop_is_down as shop_is_down

pytestmark = pytest.mark.django_db
GROUP = FailureGroup.Status


class TestCounting:
    def test_final_failures_and_failed_attempts_are_counted_apart(self, driver: Driver) -> None:
        result = tasks.fails_at_once_again.enqueue()
        driver.drain()

        group = the_group()
        assert (group.failure_count, group.failed_attempt_count) == (1, 4)
        assert (group.name, group.exception_class_path) == (
            "tests.support.tasks.fails_at_once_again",
            "builtins.ConnectionError",
        )
        assert group.origin == (
            'tests.support.tasks.fails_at_once_again: raise ConnectionError("no luck")'
        )
        assert group.message == "no luck"
        assert group.status == GROUP.OPEN
        row = driver.row(result)
        assert row.failure_group == group
        assert group.sample == row
        assert group.first_seen_at <= group.last_seen_at == group.last_failed_at

    def test_a_failure_that_is_retried_opens_a_group_without_final_failures(
        self, driver: Driver
    ) -> None:
        row = driver.attempt(tasks.always_fails.enqueue())

        group = the_group()
        assert (group.failure_count, group.failed_attempt_count) == (0, 1)
        assert group.last_failed_at is None
        assert row.failure_group is None
        assert not FailureGroup.objects.failing().exists()

    def test_failures_of_one_cause_are_one_group_whatever_their_words(self, driver: Driver) -> None:
        fail(driver, 30)

        assert the_group().failure_count == 30
        assert the_group().tasks.count() == 30

    def test_failures_of_two_functions_are_two_groups(self, driver: Driver) -> None:
        fail(driver)
        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert FailureGroup.objects.count() == 2

    def test_a_batch_costs_one_statement_for_each_group(self, driver: Driver) -> None:
        fail(driver)
        sends.enqueue_many([()] * 20)
        claimed = driver.claim(limit=20)
        endings = [AttemptRun(task, timezone.now).ending() for task in claimed.tasks]

        with CaptureQueriesContext(connection) as queries:
            lifecycle.settle(endings)

        table = FailureGroup._meta.db_table
        counting = [q["sql"] for q in queries if table in q["sql"]]
        assert len(counting) == 1
        assert counting[0].startswith("UPDATE")
        assert the_group().failure_count == 21

    def test_what_is_refused_is_not_counted(self, driver: Driver) -> None:
        result = sends.enqueue()
        [task] = driver.claim().tasks
        ending = AttemptRun(task, timezone.now).ending()
        driver.make_due(result)

        assert lifecycle.settle([ending]) == []
        assert not FailureGroup.objects.exists()

    def test_a_failed_announcement_opens_no_group(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [], "ON_FAILURE": ["nowhere.at_all"]}
        fail(driver)

        assert Task.objects.filter(internal=True, status=Status.FAILED).exists()
        assert the_group().name == f"{HERE}.sends"

    def test_a_redriven_task_stays_in_its_group_and_fails_into_another(
        self, driver: Driver
    ) -> None:
        result = tasks.raises.using(max_retries=0).enqueue("OSError")
        driver.drain()
        before = driver.row(result).failure_group
        Task.objects.filter(pk=result.id).update(args=["ValueError"])
        lifecycle.redrive([uuid.UUID(result.id)])
        assert driver.row(result).failure_group == before

        driver.drain()

        assert driver.row(result).failure_group != before
        assert FailureGroup.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_cause_that_many_workers_meet_at_once_is_counted_by_all(driver: Driver) -> None:
    if not connection.features.has_select_for_update:
        pytest.skip("there is one writer at a time")
    result = sends.enqueue()
    error = report(ConnectionError("refused"))
    barrier = Barrier(4)

    def count() -> None:
        barrier.wait(20)
        with transaction.atomic():
            groups.count([Failed(task=driver.row(result), error=error, is_final=True)])

    sessions = [in_another_session(count) for _ in range(4)]
    for session in sessions:
        session.result()

    assert the_group().failure_count == 4
