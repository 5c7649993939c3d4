"""Outcomes outlive what a function leaves on its connection, and a database that refuses."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from threading import Event
from typing import Any

import pytest
from django.db import Error, IntegrityError, connection, transaction
from django.db.backends.signals import connection_created
from django.test import override_settings
from django.utils import timezone

from django_retrytasks import worker
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.worker import pace, serving
from tests.support import tasks, trouble
from tests.support.driver import KEY, Driver, in_another_session

VENDOR = connection.vendor
LEFT = {
    "postgresql": [
        ["BEGIN"],
        ["BEGIN", "SELECT * FROM nowhere"],
        ["SET search_path TO nowhere"],
        ["SET default_transaction_read_only = on"],
    ],
    "mysql": [
        ["BEGIN"],
        ["SET autocommit = 0"],
        ["USE information_schema"],
        ["SET SESSION TRANSACTION READ ONLY"],
        ["LOCK TABLES retrytasks_task READ"],
    ],
    "sqlite": [
        ["BEGIN"],
        ["BEGIN EXCLUSIVE"],
        ["PRAGMA query_only = ON"],
        [
            "CREATE TEMP TRIGGER left_behind BEFORE INSERT ON main.retrytasks_attempt"
            " BEGIN SELECT RAISE(ABORT, 'refused by what was left'); END"
        ],
    ],
}
READ_ONLY = {
    "postgresql": "SET default_transaction_read_only = on",
    "mysql": "SET SESSION TRANSACTION READ ONLY",
    "sqlite": "PRAGMA query_only = ON",
}[VENDOR]
WAIT_FOR_NO_LOCK = {
    "postgresql": "SET lock_timeout = 50",
    "mysql": "SET lock_wait_timeout = 0",
    "sqlite": "PRAGMA busy_timeout = 0",
}[VENDOR]
LOCK = {
    "postgresql": "LOCK TABLE retrytasks_attempt IN EXCLUSIVE MODE",
    "mysql": "LOCK TABLES retrytasks_attempt WRITE",
    "sqlite": "DELETE FROM retrytasks_attempt WHERE 0",
}[VENDOR]
# Longer than a database that answers but refuses was once believed in.
A_WHILE = 2.5

Fault = Callable[[], Any]


@pytest.fixture
def meets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Fault], Any]]:
    """Return a function that enqueues a Task to which this happens."""

    def enqueue(fault: Fault) -> Any:
        monkeypatch.setattr(trouble, "fault", fault)
        return trouble.meets_a_fault.enqueue()

    yield enqueue
    connection.close()


@pytest.fixture
def on_each_connection() -> Iterator[Callable[..., None]]:
    """Return a function that has SQL run on this connection, and for seconds on each new one."""
    receivers = []

    def run(sql: str, seconds: float = 60) -> None:
        until = time.monotonic() + seconds

        def receive(connection: Any, **details: Any) -> None:
            if connection.alias == "default" and time.monotonic() < until:
                connection.cursor().execute(sql)

        connection_created.connect(receive, weak=False)
        receivers.append(receive)
        execute(sql)

    yield run
    for receiver in receivers:
        connection_created.disconnect(receiver)


def execute(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def run_as_one_claim() -> None:
    """Serve a wake-up as a worker does that takes many Tasks at once."""
    for _ in range(40):
        pace.pace.note(0.0001)
    worker.run(KEY)


def statuses(*results: Any) -> list[tuple[str, int]]:
    rows = [Task.objects.get(pk=result.id) for result in results]
    return [(row.status, row.attempt_count) for row in rows]


def leave(statements: list[str]) -> Fault:
    """Run statements through the driver itself, where nobody notices them; swallow an error."""

    def act() -> None:
        cursor = connection.cursor().cursor
        with suppress(Exception):
            for statement in statements:
                cursor.execute(statement)

    return act


@pytest.mark.django_db(transaction=True)
class TestWhatAFunctionLeavesOnItsConnection:
    @pytest.mark.parametrize("statements", LEFT[VENDOR], ids=" ".join)
    def test_costs_neither_its_outcome_nor_a_neighbours(
        self, meets: Callable[[Fault], Any], statements: list[str]
    ) -> None:
        result = meets(leave(statements))
        neighbours = tasks.echoes.enqueue_many([(1,), (2,)])

        run_as_one_claim()

        assert statuses(result, *neighbours) == [(Status.SUCCEEDED, 1)] * 3

    def test_may_be_a_closed_one(self, meets: Callable[[Fault], Any]) -> None:
        result = meets(lambda: connection.connection.close())
        neighbours = tasks.echoes.enqueue_many([(1,), (2,)])

        run_as_one_claim()

        assert statuses(result, *neighbours) == [(Status.SUCCEEDED, 1)] * 3

    def test_does_not_keep_a_neighbour_without_code_from_being_given_back(
        self, meets: Callable[[Fault], Any], driver: Driver
    ) -> None:
        result = meets(leave(LEFT[VENDOR][0]))
        neighbour = tasks.echoes.enqueue(1)
        Task.objects.filter(pk=neighbour.id).update(name="tests.gone.task")

        run_as_one_claim()

        assert statuses(result, neighbour) == [(Status.SUCCEEDED, 1), (Status.PENDING, 0)]
        assert driver.row(neighbour).given_back_count == 1


@pytest.mark.django_db(transaction=True)
class TestDatabaseThatRefusesForAWhile:
    def test_costs_no_attempt_when_it_is_read_only(
        self, meets: Callable[[Fault], Any], on_each_connection: Callable[..., None]
    ) -> None:
        result = meets(lambda: on_each_connection(READ_ONLY, A_WHILE))
        neighbours = tasks.echoes.enqueue_many([(1,), (2,)])

        run_as_one_claim()

        assert statuses(result, *neighbours) == [(Status.SUCCEEDED, 1)] * 3

    def test_costs_no_attempt_when_another_session_holds_the_lock(
        self, meets: Callable[[Fault], Any], on_each_connection: Callable[..., None]
    ) -> None:
        held = Event()

        def hold() -> None:
            with transaction.atomic():
                execute(LOCK)
                held.set()
                time.sleep(A_WHILE)
            if VENDOR == "mysql":
                execute("UNLOCK TABLES")

        def have_it_locked() -> None:
            in_another_session(hold)
            assert held.wait(10)
            on_each_connection(WAIT_FOR_NO_LOCK)

        result = meets(have_it_locked)

        run_as_one_claim()

        assert statuses(result) == [(Status.SUCCEEDED, 1)]

    @pytest.mark.skipif(VENDOR != "sqlite", reason="only SQLite's file can be kept from growing")
    def test_costs_no_attempt_when_the_disk_is_full(
        self, meets: Callable[[Fault], Any], on_each_connection: Callable[..., None]
    ) -> None:
        def fill_the_disk() -> str:
            on_each_connection("PRAGMA max_page_count = 1", A_WHILE)
            return "more than the file has free pages for" * 10_000

        result = meets(fill_the_disk)

        run_as_one_claim()

        assert statuses(result) == [(Status.SUCCEEDED, 1)]

    def test_is_tried_until_the_lease_that_a_heartbeat_extended_is_over(
        self, meets: Callable[[Fault], Any], on_each_connection: Callable[..., None]
    ) -> None:
        def run_longer_than_the_lease() -> None:
            time.sleep(3.5)
            on_each_connection(READ_ONLY, 1.5)

        with override_settings(RETRYTASKS={"LEASE": 3}):
            result = meets(run_longer_than_the_lease)
            worker.run(KEY)

        assert statuses(result) == [(Status.SUCCEEDED, 1)]

    def test_is_given_up_once_the_lease_is_over_be_it_one_outcome_or_many(
        self,
        meets: Callable[[Fault], Any],
        on_each_connection: Callable[..., None],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        # Afterwards the worker looks for other work for so many seconds.
        monkeypatch.setattr(serving, "CLAIM_PATIENCE", 0.5)
        began: list[float] = []

        def refuse_for_ever() -> None:
            began.append(time.monotonic())
            on_each_connection(READ_ONLY)

        with override_settings(RETRYTASKS={"LEASE": 2}):
            meets(refuse_for_ever)
            tasks.echoes.enqueue_many([(1,), (2,)])
            with pytest.raises(Error):
                run_as_one_claim()

        assert 1.5 < time.monotonic() - began[0] < 4

    def test_has_neighbours_settled_and_given_back_while_a_long_task_runs(
        self,
        meets: Callable[[Fault], Any],
        on_each_connection: Callable[..., None],
        driver: Driver,
    ) -> None:
        meets(lambda: on_each_connection(READ_ONLY, 1.5))
        long = trouble.tells_statuses.enqueue(4.0)
        tasks.echoes.enqueue(1)

        run_as_one_claim()

        seen = driver.row(long).return_value
        assert seen == [Status.PENDING, Status.RUNNING, Status.SUCCEEDED]

    def test_does_not_keep_a_waiting_neighbour_from_being_given_back_later(
        self,
        meets: Callable[[Fault], Any],
        on_each_connection: Callable[..., None],
        driver: Driver,
    ) -> None:
        def run_long_while_it_refuses() -> list[str]:
            on_each_connection(READ_ONLY, 1.5)
            time.sleep(4)
            return sorted(Task.objects.values_list("status", flat=True))

        result = meets(run_long_while_it_refuses)
        tasks.echoes.enqueue(1)

        run_as_one_claim()

        assert driver.row(result).return_value == [Status.PENDING, Status.RUNNING]

    def test_has_what_is_claimed_afterwards_run_though_it_refused_for_longer_than_a_lease(
        self, on_each_connection: Callable[..., None]
    ) -> None:
        result = tasks.echoes.enqueue(1)

        with override_settings(RETRYTASKS={"LEASE": 2}):
            on_each_connection(READ_ONLY, A_WHILE)
            worker.run(KEY)

        assert statuses(result) == [(Status.SUCCEEDED, 1)]

    def test_is_waited_for_in_the_calling_process_too(
        self, meets: Callable[[Fault], Any], on_each_connection: Callable[..., None]
    ) -> None:
        def run_longer_than_the_lease() -> None:
            time.sleep(1.5)
            on_each_connection(READ_ONLY, 0.7)

        immediate = {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
        with override_settings(RETRYTASKS={"LEASE": 1}, TASKS={"default": immediate}):
            result = meets(run_longer_than_the_lease)

        assert statuses(result) == [(Status.SUCCEEDED, 1)]


@pytest.mark.django_db
def test_in_a_callers_transaction_nothing_is_tried_again_and_no_connection_closed(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    result = tasks.echoes.enqueue(1)
    driver_connection = connection.connection
    moment = timezone.now()
    Attempt.objects.create(
        task_id=result.id,
        number=1,
        retry_count=0,
        outcome=Attempt.Outcome.LOST,
        queued_at=moment,
        started_at=moment,
        finished_at=moment,
    )

    with pytest.raises(IntegrityError):
        driver.run_due()

    assert "tried again" not in caplog.text
    assert connection.connection is driver_connection
