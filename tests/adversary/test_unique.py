"""Several processes and sessions enqueue unique Tasks of one key at one moment."""

from __future__ import annotations

import multiprocessing
import random
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from django_retrytasks import lifecycle, worker
from django_retrytasks.models import Status, Task
from tests.support import tasks
from tests.support.driver import KEY, Driver, Outcome, Session, in_another_session
from tests.support.plays import IS_WAITING, Act, claim, plays
from tests.support.unique import imports_feed, pk_of, reminds, ships_once

pytestmark = pytest.mark.django_db(transaction=True)

MOMENTS = 1000
SECONDS = 120
forked: Any = multiprocessing.get_context("fork")
# How a session waits for a lock a moment only.
SHORT_WAIT = {
    "sqlite": "PRAGMA busy_timeout = 200",
    "postgresql": "SET lock_timeout = '200ms'",
    "mysql": "SET SESSION innodb_lock_wait_timeout = 1",
}
WAITED = "tests.support.unique.ships_once is unique: another transaction enqueues it"


@pytest.fixture(autouse=True)
def no_alerts(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": []}


def in_processes(*acts: Act) -> list[Any]:
    """Run each act in a process of its own, all at once; return what they returned."""

    def run(number: int) -> None:
        try:
            answers.put((number, acts[number](), ""))
        except BaseException as error:
            answers.put((number, None, repr(error)))

    answers = forked.Queue()
    connections.close_all()
    processes = [forked.Process(target=run, args=(n,), daemon=True) for n in range(len(acts))]
    with warnings.catch_warnings():
        # The heart's thread sleeps, and holds no lock that a child could need.
        warnings.simplefilter("ignore", DeprecationWarning)
        for process in processes:
            process.start()
    told = sorted((answers.get(timeout=SECONDS) for _ in processes), key=lambda each: each[0])
    for process in processes:
        process.join(SECONDS)
    assert [error for *_, error in told] == [""] * len(acts)
    return [value for _, value, _ in told]


class TestProcesses:
    def test_of_two_enqueues_at_one_moment_one_creates_the_task(self) -> None:
        moment = forked.Barrier(2, timeout=SECONDS)

        def come() -> list[tuple[str, bool]]:
            found = []
            for order in range(MOMENTS):
                moment.wait()
                result = ships_once.enqueue(order)
                found.append((result.id, result.created))
            return found

        first, second = in_processes(come, come)

        assert [pk for pk, _ in first] == [pk for pk, _ in second]
        assert all(one ^ other for (_, one), (_, other) in zip(first, second, strict=True))
        assert Task.objects.count() == MOMENTS

    def test_many_overlapping_keys_at_once_cause_no_deadlock(self) -> None:
        def come(seed: int) -> int:
            chance, created = random.Random(seed), 0
            for start in range(0, 1200, 40):
                orders = chance.sample(range(start, start + 60), 60)
                results = ships_once.enqueue_many([(order,) for order in orders])
                created += sum(result.created for result in results)
            return created

        created = in_processes(lambda: come(1), lambda: come(2))

        assert sum(created) == Task.objects.count() == 1220

    def test_keys_are_enqueued_over_and_over_while_a_worker_frees_them(self) -> None:
        left = forked.Semaphore(0)

        def come(seed: int) -> int:
            chance, created = random.Random(seed), 0
            for _ in range(150):
                urls = [(str(n),) for n in chance.sample(range(12), 5)]
                created += sum(result.created for result in imports_feed.enqueue_many(urls))
                created += imports_feed.enqueue(str(chance.randrange(12))).created
            left.release()
            return created

        def serve() -> None:
            for _ in range(2):
                while not left.acquire(timeout=0.001):
                    worker.run(KEY)

        first, second, _ = in_processes(lambda: come(1), lambda: come(2), serve)
        Driver().drain()

        assert first + second == Task.objects.count() > 12
        ended = Counter(Task.objects.values_list("status", "held_key"))
        assert ended == {(Status.SUCCEEDED, None): Task.objects.count()}


@contextmanager
def open_transaction() -> Iterator[str]:
    """Enqueue order 1 in a transaction that ends with the body; yield the Task's id."""
    with transaction.atomic():
        yield ships_once.enqueue(1).id


class TestOpenTransactions:
    def test_a_second_waits_for_the_commit_and_refers_to_the_first(self) -> None:
        with open_transaction() as pk:
            other = in_another_session(lambda: ships_once.enqueue(1))

        result = other.result()
        assert (result.id, result.created) == (pk, False)

    def test_a_rollback_of_the_first_lets_the_second_in(self) -> None:
        with open_transaction() as pk:
            other = in_another_session(lambda: ships_once.enqueue(1))
            transaction.set_rollback(True)

        result = other.result()
        assert result.created
        assert str(Task.objects.get().pk) == result.id != pk

    @pytest.mark.parametrize("many", [False, True])
    def test_the_wait_ends_with_the_databases_lock_timeout_and_says_what_for(
        self, many: bool
    ) -> None:
        def come() -> None:
            with connection.cursor() as cursor:
                cursor.execute(SHORT_WAIT[connection.vendor])
            if many:
                ships_once.enqueue_many([(1,), (2,)])
            else:
                ships_once.enqueue(1)

        with open_transaction() as pk, pytest.raises(OperationalError) as caught:
            in_another_session(come).result()

        if connection.vendor != "sqlite":  # where it may be any other write
            assert explains(caught.value)
        assert [str(task.pk) for task in Task.objects.all()] == [pk]

    def test_another_key_does_not_wait(self) -> None:
        if connection.vendor != "postgresql":
            pytest.skip("SQLite has one writer at a time, MariaDB locks the gaps between keys")

        with open_transaction():
            assert in_another_session(lambda: ships_once.enqueue(2)).result().created

    def test_a_transaction_with_an_older_snapshot_stores_no_second_task(self) -> None:
        """At REPEATABLE READ it does not see the row by which another one took the key."""
        if connection.vendor == "sqlite":
            pytest.skip("a transaction that writes has no older snapshot")
        with repeatable_read():
            assert not Task.objects.exists()
            other = in_another_session(lambda: ships_once.enqueue(1)).result()
            assert not Task.objects.exists()

            if connection.vendor == "mysql":
                result = ships_once.enqueue(1)
                assert (result.id, result.created) == (other.id, False)
                assert ships_once.enqueue(2).created
            else:
                with pytest.raises(OperationalError) as caught, transaction.atomic():
                    ships_once.enqueue(1)
                assert explains(caught.value)

    def test_in_a_deferred_transaction_of_sqlite_it_takes_the_lock_before_it_reads(self) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("only SQLite refuses to write after a read, if another one wrote between")
        others: list[Session] = []

        def write_between(execute: Any, sql: str, *details: Any) -> Any:
            if "INSERT" in sql and not others:
                others.append(in_another_session(lambda: tasks.echoes.enqueue(1)))
                others[0].join(0.5)
            return execute(sql, *details)

        with deferred_transaction(), connection.execute_wrapper(write_between):
            assert ships_once.enqueue(1).created

        assert others[0].result().created


@contextmanager
def deferred_transaction() -> Iterator[None]:
    wrapper: Any = connection
    connection.ensure_connection()
    mode, wrapper.transaction_mode = wrapper.transaction_mode, None
    try:
        with transaction.atomic():
            yield
    finally:
        wrapper.transaction_mode = mode


def explains(error: OperationalError) -> bool:
    return any(note.startswith(WAITED) for note in error.__notes__)


@contextmanager
def repeatable_read() -> Iterator[None]:
    statement = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
    with connection.cursor() as cursor:
        if connection.vendor == "mysql":
            cursor.execute(statement)
        with transaction.atomic():
            if connection.vendor == "postgresql":
                cursor.execute(statement)
            yield


class TestInEveryOrder:
    @pytest.fixture(autouse=True)
    def two_sessions(self) -> None:
        if connection.vendor not in IS_WAITING:
            pytest.skip("one session at a time writes here, and it takes the lock at once")

    def test_of_two_enqueues_one_creates_the_task(self) -> None:
        def prepare() -> tuple[Act, Act]:
            return lambda: ships_once.enqueue(1), lambda: ships_once.enqueue(1)

        for first, second in plays(prepare):
            assert first.id == second.id
            assert first.created ^ second.created

    def test_of_two_that_take_a_key_over_after_its_period_one_does(self) -> None:
        def prepare() -> tuple[Act, Act]:
            old = reminds.enqueue(1)
            Driver().run_due()
            Task.objects.filter(pk=old.id).update(unique_until=Task.objects.get().enqueued_at)
            return lambda: reminds.enqueue_many([(1,), (2,)]), lambda: reminds.enqueue(1)

        for many, one in plays(prepare):
            assert many[0].id == one.id
            assert many[0].created ^ one.created
            assert Task.objects.filter(internal=False).count() == 3

    def test_an_enqueue_beside_a_settle_finds_the_key_held_or_free(self) -> None:
        def prepare() -> tuple[Act, Act]:
            ships_once.enqueue(1)
            endings = [Driver().ending(task) for task in claim().tasks]
            return lambda: lifecycle.settle(endings), lambda: ships_once.enqueue(1)

        for settled, result in plays(prepare):
            assert len(settled) == 1
            assert Task.objects.count() == 1 + result.created

    def test_a_failed_task_runs_again_or_another_is_created_never_both(self) -> None:
        def prepare() -> tuple[Act, Act]:
            failed = ships_once.enqueue(1)
            task = lifecycle.claim_inline([pk_of(failed)], worker="host:1:one").tasks[0]
            lifecycle.settle([Driver().ending(task, Outcome.FAILED)])
            return lambda: lifecycle.redrive([task.pk]), lambda: ships_once.enqueue(1)

        for redriven, result in plays(prepare):
            assert redriven + result.created == 1
            assert Task.objects.filter(held_key__isnull=False).count() == 1
