"""Unique Tasks: of one key one is unfinished, or within its period, whatever becomes of it."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.models import Status, Task
from django_retrytasks.values.contract import TaskResultStatus, task_enqueued
from tests.support import tasks
from tests.support.driver import Driver, Outcome, received, wake_ups
from tests.support.unique import greets, imports_feed, pk_of, reminds, ships_once

pytestmark = pytest.mark.django_db


def end_period(*results: Any) -> None:
    rows = Task.objects.filter(pk__in=map(pk_of, results))
    rows.update(unique_until=DatabaseNow() - timedelta(seconds=1))


def holder_of_the_key() -> str:
    return str(Task.objects.get(held_key__isnull=False).pk)


class TestEnqueue:
    def test_the_first_is_created_and_a_second_refers_to_it(self) -> None:
        first = imports_feed.enqueue("/a")
        second = imports_feed.enqueue("/a")

        assert (first.created, second.created) == (True, False)
        assert second.id == first.id
        assert Task.objects.count() == OrmQ.objects.count() == 1

    @pytest.mark.parametrize("door", ["delay", "aenqueue", "apply_async", "enqueue_many", "using"])
    def test_through_every_door(self, door: str) -> None:
        def come(url: str) -> Any:
            match door:
                case "delay":
                    return imports_feed.delay(url)
                case "aenqueue":
                    return async_to_sync(imports_feed.aenqueue)(url)
                case "apply_async":
                    return imports_feed.apply_async((url,), countdown=5)
                case "enqueue_many":
                    return imports_feed.enqueue_many([(url,)])[0]
            return imports_feed.using(priority=5, queue_name="slow").enqueue(url)

        first = imports_feed.enqueue("/a")

        assert (come("/a").id, come("/a").created) == (first.id, False)
        assert come("/b").created

    def test_the_existing_tasks_own_state_is_returned(self, driver: Driver) -> None:
        first = imports_feed.using(priority=7).enqueue("/a", 1, told="fail")
        driver.run_due()

        second = imports_feed.enqueue("/a", 1, told="fail")

        assert second.status == TaskResultStatus.READY
        assert (second.args, second.kwargs) == (["/a", 1], {"told": "fail"})
        assert (second.attempts, second.errors[0].exception_class) == (1, ConnectionError)
        assert second.task.priority == 7
        assert second.enqueued_at == driver.row(first).enqueued_at

    def test_a_result_from_elsewhere_has_not_created_its_task(self) -> None:
        result = imports_feed.enqueue("/a")

        assert imports_feed.get_result(result.id).created is False
        result.refresh()
        assert result.created

    def test_others_are_always_created(self) -> None:
        assert [tasks.echoes.enqueue(1).created for _ in range(2)] == [True, True]

    def test_only_a_created_one_is_signalled_and_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, "django_retrytasks")

        with received(task_enqueued) as sent:
            first, _ = imports_feed.enqueue("/a"), imports_feed.enqueue("/a")
            imports_feed.enqueue_many([("/a",), ("/b",)])

        assert [one["task_result"].args for one in sent] == [["/a"], ["/b"]]
        assert all(one["task_result"].created for one in sent)
        assert caplog.text.count("Task enqueued") == 2
        assert first.id in caplog.text

    def test_a_task_of_the_callers_own_transaction_counts(self) -> None:
        with transaction.atomic():
            first = imports_feed.enqueue("/a")
            second = imports_feed.enqueue("/a")

        assert (second.id, second.created) == (first.id, False)

    def test_a_rollback_frees_the_key(self) -> None:
        with transaction.atomic():
            first = imports_feed.enqueue("/a")
            transaction.set_rollback(True)

        second = imports_feed.enqueue("/a")

        assert second.created
        assert second.id != first.id


class TestEnqueueMany:
    def test_results_come_in_the_order_of_the_calls(self) -> None:
        held = ships_once.enqueue(3)

        results = ships_once.enqueue_many([(n,) for n in (5, 3, 1, 5, 4, 1)])

        assert [result.args for result in results] == [[5], [3], [1], [5], [4], [1]]
        assert [result.created for result in results] == [True, False, True, False, True, False]
        assert results[1].id == held.id
        assert (results[3].id, results[5].id) == (results[0].id, results[2].id)
        assert Task.objects.count() == 4

    def test_without_results(self) -> None:
        ships_once.enqueue(3)

        assert ships_once.enqueue_many(((n % 7,) for n in range(20)), results=False) == []
        assert Task.objects.count() == 7

    def test_more_than_a_chunk_with_a_key_twice_on_its_border(self) -> None:
        calls = [(n,) for n in range(1500)] * 2

        results = ships_once.enqueue_many(calls)

        assert [result.created for result in results] == [True] * 1500 + [False] * 1500
        assert [one.id for one in results[:1500]] == [one.id for one in results[1500:]]
        assert Task.objects.count() == 1500

    def test_an_error_in_a_later_call_stores_none(self) -> None:
        with pytest.raises(TypeError), transaction.atomic():
            ships_once.enqueue_many(((object() if n == 3 else n,) for n in range(5)), results=False)

        assert not Task.objects.exists()

    def test_a_wake_up_is_written_for_created_ones_alone(self) -> None:
        ships_once.enqueue(1)
        count = len(wake_ups())

        ships_once.enqueue_many([(1,), (1,)])

        assert len(wake_ups()) == count


class TestHowLongTheKeyIsHeld:
    @pytest.mark.parametrize("status", [Status.PENDING, Status.RUNNING, Status.RETRYING])
    def test_while_it_is_unfinished(self, status: Status, driver: Driver) -> None:
        first = imports_feed.enqueue("/a")
        bring(driver, first, status)

        again = imports_feed.enqueue("/a")

        assert driver.row(first).status == status
        assert (again.id, again.created) == (first.id, False)

    @pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.DISCARDED])
    def test_no_longer_once_it_is_final(self, status: Status, driver: Driver) -> None:
        first = imports_feed.enqueue("/a")
        bring(driver, first, status)

        again = imports_feed.enqueue("/a")

        assert driver.row(first).status == status
        assert again.created
        assert holder_of_the_key() == again.id

    def test_a_retry_does_not_collide_with_a_queued_twin(self, driver: Driver) -> None:
        first = imports_feed.enqueue("/a", 1, told="fail")
        driver.run_due()
        imports_feed.enqueue("/a", 1, told="fail")
        driver.attempt(first)

        row = driver.row(first)

        assert (row.status, row.attempt_count, row.held_key) == (Status.FAILED, 2, None)
        assert Task.objects.filter(internal=False).count() == 1

    def test_a_discard_by_the_function_frees_it(self, driver: Driver) -> None:
        first = imports_feed.enqueue("/a", 1, told="discard")
        driver.run_due()

        assert driver.row(first).status == Status.DISCARDED
        assert imports_feed.enqueue("/a", 1, told="discard").created

    @pytest.mark.parametrize("verb", [lifecycle.discard, lifecycle.cancel])
    def test_an_operators_discard_and_cancel_free_it_within_its_period_too(
        self, verb: Any, driver: Driver
    ) -> None:
        first = reminds.enqueue(1)

        assert verb([pk_of(first)]) == 1

        assert driver.row(first).held_key is None
        assert reminds.enqueue(1).created

    def test_cancelling_it_while_it_runs_frees_it_and_its_late_outcome_changes_nothing(
        self, driver: Driver
    ) -> None:
        first = imports_feed.enqueue("/a")
        [claimed] = driver.claim().tasks
        lifecycle.cancel([claimed.pk])
        second = imports_feed.enqueue("/a")

        assert lifecycle.settle([driver.ending(claimed)]) == []
        assert holder_of_the_key() == second.id != first.id

    def test_an_expired_one_holds_it_for_nobody_though_no_claim_has_found_it(
        self, driver: Driver
    ) -> None:
        first = imports_feed.apply_async(("/a",), expires=60)
        assert not imports_feed.enqueue("/a").created
        Task.objects.filter(pk=first.id).update(expires_at=DatabaseNow())

        second = imports_feed.enqueue("/a")
        driver.run_due()

        assert second.created
        assert driver.row(first).status == Status.DISCARDED
        assert driver.row(second).status == Status.SUCCEEDED

    def test_a_lost_worker_holds_it_only_until_the_task_is_final(self, driver: Driver) -> None:
        first = ships_once.enqueue(1)
        driver.claim()
        driver.make_due(first)
        driver.drain()

        assert driver.row(first).is_finished
        assert ships_once.enqueue(1).created

    def test_neighbours_of_a_claim_settle_each_by_its_own(self, driver: Driver) -> None:
        results = [
            imports_feed.enqueue("/a"),
            tasks.echoes.enqueue(1),
            imports_feed.enqueue("/b"),
            reminds.enqueue(1),
        ]
        claimed = {task.pk: task for task in driver.claim().tasks}
        fails = driver.ending(claimed[pk_of(results[2])], Outcome.FAILED, countdown=5)
        endings = [driver.ending(claimed[pk_of(results[n])]) for n in (0, 1, 3)]

        assert len(lifecycle.settle([*endings, fails])) == 4

        held = [driver.row(result).held_key is not None for result in results]
        assert held == [False, False, True, True]

    def test_an_older_release_that_leaves_it_with_a_final_task_blocks_nobody(
        self, driver: Driver
    ) -> None:
        first = imports_feed.enqueue("/a")
        key = driver.row(first).held_key
        driver.run_due()
        Task.objects.filter(pk=first.id).update(held_key=key)

        assert imports_feed.enqueue("/a").created
        assert driver.row(first).held_key is None


def bring(driver: Driver, result: Any, status: Status) -> None:
    if status == Status.PENDING:
        return
    if status == Status.DISCARDED:
        lifecycle.discard([pk_of(result)])
        return
    [task] = driver.claim().tasks
    if status == Status.SUCCEEDED:
        lifecycle.settle([driver.ending(task)])
    elif status in (Status.FAILED, Status.RETRYING):
        countdown = 5 if status == Status.RETRYING else None
        lifecycle.settle([driver.ending(task, Outcome.FAILED, countdown=countdown)])


class TestPeriod:
    def test_it_begins_at_the_enqueue_by_the_databases_clock(self, driver: Driver) -> None:
        task = driver.row(reminds.enqueue(1))

        assert task.unique_until is not None
        assert abs(task.unique_until - task.enqueued_at - timedelta(seconds=60)) < timedelta(
            milliseconds=2
        )

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_key_is_held_until_its_end_even_if_the_task_is_final(
        self, fails: bool, driver: Driver
    ) -> None:
        first = reminds.enqueue(1, fails=fails)
        driver.run_due()

        again = reminds.enqueue(1)

        assert driver.row(first).is_finished
        assert (again.id, again.created) == (first.id, False)
        assert again.is_finished

    def test_then_an_enqueue_takes_the_key_over(self, driver: Driver) -> None:
        first = reminds.enqueue(1)
        driver.run_due()
        end_period(first)

        again, once_more = reminds.enqueue_many([(1,), (1,)])

        assert (again.created, once_more.created) == (True, False)
        assert again.id == once_more.id != first.id
        assert driver.row(first).held_key is None

    def test_a_task_that_takes_longer_holds_its_key_to_its_end(self, driver: Driver) -> None:
        first = reminds.enqueue(1)
        end_period(first)

        assert reminds.enqueue(1).id == first.id
        driver.run_due()
        assert driver.row(first).held_key is None

    def test_a_prune_spares_the_row_while_the_period_runs(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"RETENTION": {"SUCCEEDED": 5}}
        results = [reminds.enqueue(1), imports_feed.enqueue("/a")]
        driver.run_due()
        Task.objects.update(finished_at=F("finished_at") - timedelta(seconds=30))

        assert lifecycle.prune() == 1
        assert Task.objects.get().pk == pk_of(results[0])

        end_period(results[0])
        assert lifecycle.prune() == 1


class TestCost:
    def test_a_task_that_is_not_unique_names_no_column_of_it(self, driver: Driver) -> None:
        with CaptureQueriesContext(connection) as captured:
            tasks.echoes.enqueue(1)
            driver.run_due()

        statements = [one["sql"] for one in captured.captured_queries]
        writes = [sql for sql in statements if sql.startswith(("INSERT", "UPDATE", "WITH parent"))]
        assert len(writes) >= 3
        assert not any("held_key" in sql or "unique" in sql for sql in writes)

    def test_a_refused_enqueue_writes_nothing(self) -> None:
        ships_once.enqueue(1)

        with CaptureQueriesContext(connection) as captured:
            ships_once.enqueue(1)

        assert not any("INSERT" in one["sql"] for one in captured.captured_queries)


def test_a_callables_text_makes_a_task_unique() -> None:
    first, same, other = greets.enqueue("ada"), greets.enqueue("ada", "bye"), greets.enqueue("bob")

    assert (same.id, same.created, other.created) == (first.id, False, True)
