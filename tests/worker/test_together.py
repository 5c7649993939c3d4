"""Tasks of a claim that run together on one event loop, and what one of them does to the others."""

from __future__ import annotations

import logging
import time
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import override_settings

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import task_succeeded
from django_retrytasks.worker import together as worker_together
from django_retrytasks.worker.pace import Pace, pace
from tests.support import tasks, together
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Attempt.Outcome
NEIGHBOURS = 4


@pytest.fixture(autouse=True)
def many_at_once() -> None:
    """Have the worker of this process claim many Tasks at once."""
    for _ in range(60):
        pace.note(0.0001)


class TestTogether:
    def test_those_of_a_claim_run_at_once(self, driver: Driver) -> None:
        results = together.meets.enqueue_many([(8,)] * 8)

        driver.run_due()

        rows = [driver.row(result) for result in results]
        assert [(row.status, row.return_value) for row in rows] == [(Status.SUCCEEDED, 8)] * 8
        attempts = [driver.attempts(result) for result in results]
        assert [len(each) for each in attempts] == [1] * 8
        first_end = min(attempt.finished_at for [attempt] in attempts)
        assert all(attempt.started_at < first_end for [attempt] in attempts)

    def test_at_most_as_many_as_the_task_allows(self, driver: Driver) -> None:
        results = together.counts_present.enqueue_many([(0.05,)] * 12)

        driver.run_due()

        counts = [driver.row(result).return_value for result in results]
        assert max(counts) == 4
        assert len({driver.row(result).claim_token for result in results}) == 1

    def test_without_the_option_one_at_a_time(self, driver: Driver) -> None:
        results = together.counts_present_alone.enqueue_many([(0.01,)] * 4)

        driver.run_due()

        assert [driver.row(result).return_value for result in results] == [1] * 4

    def test_only_with_those_of_their_function(self, driver: Driver) -> None:
        with transaction.atomic():
            mixed = [
                task.enqueue(0.02)
                for task in (together.counts_present, tasks.naps, together.counts_present_too) * 3
            ]

        driver.run_due()

        assert len({driver.row(result).claimed_at for result in mixed}) == 1
        rows = [driver.row(result) for result in mixed]
        assert {row.status for row in rows} == {Status.SUCCEEDED}
        counts = [max(row.return_value or 0 for row in rows[first::3]) for first in range(3)]
        assert counts == [3, 0, 3]

    def test_in_a_callers_transaction_one_at_a_time(self, driver: Driver) -> None:
        with transaction.atomic():
            results = together.counts_present.enqueue_many([(0.01,)] * 3)
            driver.run_due()

        assert [driver.row(result).return_value for result in results] == [1] * 3

    def test_where_the_caller_waits_one_at_a_time(self) -> None:
        immediate = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        with override_settings(TASKS={"default": immediate}):
            results = together.counts_present.enqueue_many([(0.01,)] * 3)

        rows = Task.objects.filter(pk__in=[result.id for result in results])
        assert [row.return_value for row in rows] == [1, 1, 1]

    def test_each_has_its_arguments_context_and_attempts(self, driver: Driver) -> None:
        results = together.tells.enqueue_many([(number,) for number in range(6)])

        driver.drain()

        for number, result in enumerate(results):
            row, [failed, succeeded] = driver.row(result), driver.attempts(result)
            assert row.return_value == [number, 2, result.id, "en-us", "clean", 28]
            assert failed.exception_message == f"number {number}"
            assert "in tells" in failed.traceback
            assert (failed.outcome, succeeded.outcome) == (Outcome.FAILED, Outcome.SUCCEEDED)

    def test_one_instance_that_all_raise_has_for_each_the_frames_of_its_own_raise(
        self, driver: Driver
    ) -> None:
        results = together.raises_the_same.enqueue_many([("a",)] * 4)

        driver.drain()

        texts = [one.traceback for result in results for one in driver.attempts(result)]
        assert [text.count("in raises_the_same") for text in texts] == [1] * 8
        assert len(set(texts)) == 1

    def test_a_secret_is_kept_out_of_what_is_stored(self, driver: Driver) -> None:
        results = together.tells_a_secret.enqueue_many([("s3cr3t",), ("0th3r",)])

        driver.run_due()

        for result in results:
            [attempt] = driver.attempts(result)
            assert attempt.exception_message == f"no such key: {20 * '*'}"
            assert not any(secret in attempt.traceback for secret in ("s3cr3t", "0th3r"))

    def test_each_steers_its_own_task(self, driver: Driver) -> None:
        words = ("discard", "snooze", "retry")
        results = [together.behaves.using(max_retries=1).enqueue("steers", word) for word in words]

        driver.run_due()

        statuses = [driver.row(result).status for result in results]
        assert statuses == [Status.DISCARDED, Status.PENDING, Status.RETRYING]
        decisions = [driver.attempts(result)[0].decision for result in results]
        assert decisions == [
            "discarded: not needed",
            "snoozed for 60 s",
            "retry 1 of 1 in 30 s",
        ]

    def test_one_that_does_not_fit_the_code_is_given_back_for_a_newer_worker(
        self, driver: Driver
    ) -> None:
        first, odd, last = together.sleeps.enqueue_many([(0.1,)] * 3)
        Task.objects.filter(pk=odd.id).update(args=[0.1, "of newer code"])

        driver.run_due()

        assert_unharmed(driver, [first, last])
        row = driver.row(odd)
        assert (row.status, row.given_back_count) == (Status.PENDING, 1)


class TestTimeouts:
    def test_each_has_its_own(self, driver: Driver) -> None:
        late = together.sleeps.using(timeout=0.2).enqueue(30)
        others = together.sleeps.enqueue_many([(0.4,)] * 3)
        others += together.sleeps.using(timeout=5).enqueue_many([(0.4,)] * 2)

        began = time.monotonic()
        driver.run_due()

        assert time.monotonic() - began < 5
        assert [one.outcome for one in driver.attempts(late)] == [Outcome.TIMED_OUT]
        message = "the attempt ran longer than its timeout of 0.2 s"
        assert driver.attempts(late)[0].exception_message == message
        assert {driver.row(other).status for other in others} == {Status.SUCCEEDED}

    def test_one_that_swallows_its_timeout_is_interrupted_again(self, driver: Driver) -> None:
        results = together.swallows.enqueue_many([(2,), (3,)])

        driver.run_due()

        for result in results:
            assert [one.outcome for one in driver.attempts(result)] == [Outcome.TIMED_OUT]

    def test_one_that_blocks_is_interrupted_and_costs_the_others_nothing(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        blocking = together.blocks.enqueue(-20)
        others = together.blocks.enqueue_many([(0.2,)] * NEIGHBOURS)
        with caplog.at_level(logging.WARNING, "django_retrytasks"):
            began = time.monotonic()
            driver.run_due()

        assert time.monotonic() - began < 10
        assert [one.outcome for one in driver.attempts(blocking)] == [Outcome.TIMED_OUT]
        assert {driver.row(other).status for other in others} == {Status.SUCCEEDED}
        named = [line for line in caplog.messages if "blocks its event loop" in line]
        assert len(named) == 1
        assert f"id={blocking.id} name=tests.support.together.blocks" in named[0]

    def test_a_thread_that_cannot_be_interrupted_holds_up_its_own_attempt_alone(
        self, driver: Driver
    ) -> None:
        waiting = together.waits_in_a_thread.using(timeout=0.2).enqueue(-1.5)
        others = together.waits_in_a_thread.using(timeout=1).enqueue_many([(0.4,)] * NEIGHBOURS)

        driver.run_due()

        assert_unharmed(driver, others)
        [late] = driver.attempts(waiting)
        assert late.outcome == Outcome.TIMED_OUT
        ends = [attempt.finished_at for other in others for attempt in driver.attempts(other)]
        assert max(ends) < late.finished_at


class TestTrouble:
    @pytest.mark.parametrize(
        ("trouble", "status", "error"),
        [
            ("raises_exit", Status.FAILED, "builtins.SystemExit"),
            ("exits_in_a_child", Status.FAILED, "builtins.SystemExit"),
            ("raises_cancelled", Status.FAILED, "asyncio.exceptions.CancelledError"),
            ("cancels_itself", Status.FAILED, "asyncio.exceptions.CancelledError"),
            (
                "cancels_itself_and_returns",
                Status.FAILED,
                "asyncio.exceptions.CancelledError",
            ),
            ("cancels_all", Status.SUCCEEDED, None),
            ("stops_the_loop", Status.SUCCEEDED, None),
            ("closes_the_loop", Status.FAILED, "builtins.RuntimeError"),
            ("sets_a_new_loop", Status.SUCCEEDED, None),
            ("replaces_the_task_factory", Status.SUCCEEDED, None),
            ("leaves_callbacks", Status.SUCCEEDED, None),
            ("leaves_children", Status.SUCCEEDED, None),
            ("leaves_autocommit_off", Status.SUCCEEDED, None),
        ],
    )
    def test_it_costs_its_own_attempt_at_most(
        self, driver: Driver, trouble: str, status: Status, error: str | None
    ) -> None:
        culprit = together.behaves.enqueue(trouble)
        others = together.behaves.enqueue_many([("",)] * NEIGHBOURS)

        driver.run_due()

        assert_unharmed(driver, others)
        [attempt] = driver.attempts(culprit)
        assert driver.row(culprit).status == status
        assert (attempt.exception_class_path or None) == error

    def test_one_that_interrupts_ends_its_worker_after_the_others_and_then_alone(
        self, driver: Driver
    ) -> None:
        culprit = together.behaves.enqueue("raises_interrupt")
        others = together.behaves.enqueue_many([("",)] * NEIGHBOURS)

        with pytest.raises(KeyboardInterrupt):
            driver.run_due()

        assert_unharmed(driver, others)
        row = driver.row(culprit)
        assert (row.status, row.attempt_count, row.suspect) == (Status.PENDING, 0, True)

    @pytest.mark.filterwarnings("ignore:coroutine")
    def test_a_broken_loop_charges_nobody_and_all_run_alone(self, driver: Driver) -> None:
        culprit = together.behaves.enqueue("closes_the_loop_in_a_thread")
        others = together.behaves.enqueue_many([("",)] * NEIGHBOURS)

        driver.run_due()

        assert_unharmed(driver, others)
        assert driver.row(culprit).status == Status.SUCCEEDED

    def test_what_a_function_leaves_running_ends_with_it(self, driver: Driver) -> None:
        together.left.clear()
        together.behaves.enqueue_many([("leaves_children",), ("",)])

        driver.run_due()

        assert [task.cancelled() for task in together.left] == [True]

    def test_the_worker_goes_on_though_something_refuses_to_end(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(worker_together, "BRIEF", 0.3)
        together.left.clear()
        culprit = together.behaves.enqueue("leaves_a_child_that_refuses")
        others = together.behaves.enqueue_many([("",)] * NEIGHBOURS)

        driver.run_due()

        assert_unharmed(driver, others)
        assert driver.row(culprit).status == Status.SUCCEEDED


class TestConnections:
    def test_a_transaction_left_open_takes_no_row_of_another(self, driver: Driver) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("there an open transaction locks the database for all other connections")
        begin = {"mysql": "START TRANSACTION"}.get(connection.vendor, "BEGIN")
        together.behaves.enqueue("runs", begin)
        results = together.adds_group.enqueue_many([(f"group {n}",) for n in range(4)])

        driver.run_due()

        assert {driver.row(result).status for result in results} == {Status.SUCCEEDED}
        assert Group.objects.count() == 4

    def test_a_cursor_stays_open_while_others_end(self, driver: Driver) -> None:
        Group.objects.bulk_create(Group(name=f"group {n}") for n in range(5))
        reading = together.reads_slowly.enqueue_many([(), ()])

        driver.run_due()

        assert [driver.row(result).return_value for result in reading] == [5, 5]


class TestLeases:
    def test_the_slow_one_is_kept_and_the_quick_ones_are_settled(self, driver: Driver) -> None:
        slow, *quick = together.watches.enqueue_many([(True,), (False,), (False,)])

        driver.run_due()

        row = driver.row(slow)
        assert row.status == Status.SUCCEEDED
        assert row.return_value == {"started": True, "others": ["SUCCEEDED"] * len(quick)}

    def test_signals_of_the_quick_ones_do_not_wait_for_the_slow_one(self, driver: Driver) -> None:
        def hear(task: Task, **details: Any) -> None:
            together.heard.append(str(task.pk))

        together.heard.clear()
        slow, *quick = together.waits_until_heard.enqueue_many([(2,), (0,), (0,)])
        task_succeeded.connect(hear)
        try:
            driver.run_due()
        finally:
            task_succeeded.disconnect(hear)

        assert driver.row(slow).return_value == sorted(result.id for result in quick)

    def test_an_outcome_after_its_claim_is_refused_and_the_others_are_settled(
        self, driver: Driver
    ) -> None:
        loses, *others = together.loses_its_claim.enqueue_many([(True,), (False,), (False,)])

        driver.run_due()

        assert_unharmed(driver, others)
        assert (driver.row(loses).status, driver.attempts(loses)) == (Status.RUNNING, [])


class TestPace:
    def test_a_claim_takes_at_least_as_many_as_run_together(self) -> None:
        pace = Pace()

        pace.note(2, together=20)
        assert pace.limit == 20

        pace.note(2)
        assert pace.limit == 1

    def test_a_backlog_of_quick_ones_is_claimed_in_whole_rounds(self) -> None:
        pace, limits = Pace(), []
        pace.note(0.12, together=20)

        for _ in range(3):
            limits.append(pace.limit)
            pace.note_claim(leaves_due=True)

        assert limits == [20, 20, 40]

    def test_slow_tasks_that_run_together_are_claimed_together(self, driver: Driver) -> None:
        for _ in range(60):
            pace.note(2)
        results = together.sleeps.enqueue_many([(0.3,)] * 12)

        driver.run_due()

        claims = {driver.row(result).claimed_at for result in results}
        assert len(claims) <= 2


def assert_unharmed(driver: Driver, others: list[Any]) -> None:
    """Check that each of these succeeded at its first attempt."""
    assert [driver.row(other).status for other in others] == [Status.SUCCEEDED] * len(others)
    assert [len(driver.attempts(other)) for other in others] == [1] * len(others)
