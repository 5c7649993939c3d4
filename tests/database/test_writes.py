"""Rows written by hand-made SQL are what the ORM would have stored."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import DatabaseError, connection, transaction
from django_q.models import OrmQ

from django_retrytasks.database import DatabaseNow, writes
from django_retrytasks.lifecycle.rows import fields_of, store_attempts
from django_retrytasks.models import Attempt, Task
from django_retrytasks.values.ids import uuid7

pytestmark = pytest.mark.django_db

NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)


def a_task(**fields: Any) -> Task:
    values = {
        "name": "shop.tasks.pay",
        "args": [1],
        "kwargs": {},
        "queue_name": "default",
        "backend": "default",
        "enqueued_at": NOON,
        "queued_at": NOON,
        "run_after": NOON,
    }
    return Task(pk=uuid7(), **{**values, **fields})


def stored(*tasks: Task) -> list[Task]:
    """Insert Tasks by one call; return the rows as they are read, in the same order."""
    writes.insert(Task, [fields_of(task) for task in tasks])
    return [Task.objects.get(pk=task.pk) for task in tasks]


class TestInsert:
    def test_each_row_has_its_own_values_and_the_common_ones(self) -> None:
        given = [a_task(args=[n], search_key=f"100% {n}", timeout=n or None) for n in range(3)]

        rows = stored(*given)

        assert [fields_of(row) for row in rows] == [fields_of(task) for task in given]

    @pytest.mark.parametrize(("one", "other"), [(True, 1), ({"n": [1]}, {"n": [True]}), (1, 1.0)])
    def test_values_that_are_equal_but_stored_differently_stay_apart(
        self, one: Any, other: Any
    ) -> None:
        rows = stored(
            a_task(args=[one], options={"x": one}), a_task(args=[other], options={"x": other})
        )

        assert [repr(row.args) for row in rows] == [repr([one]), repr([other])]
        assert [repr(row.options["x"]) for row in rows] == [repr(one), repr(other)]

    def test_the_databases_time_may_stand_beside_moments(self) -> None:
        [now, noon] = stored(a_task(run_after=DatabaseNow()), a_task())

        assert now.run_after is not None
        assert abs(now.run_after - datetime.now(UTC)) < timedelta(minutes=1)
        assert noon.run_after == NOON

    @pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite stores texts of any length")
    @pytest.mark.parametrize("others", [0, 1, 2])
    def test_a_text_that_is_too_long_is_refused_and_not_cut(self, others: int) -> None:
        rows = [a_task(queue_name="q" * 101), *(a_task() for _ in range(others))]

        with pytest.raises(DatabaseError), transaction.atomic():
            stored(*rows)

        assert not Task.objects.exists()

    def test_a_stored_key_is_skipped_if_conflicts_are_ignored(self) -> None:
        [first] = stored(a_task(args=["first"]))
        again, new = a_task(args=["again"]), a_task(args=["new"])
        again.pk = first.pk

        writes.insert_new(Task, [fields_of(again), fields_of(new)])

        assert sorted(task.args[0] for task in Task.objects.all()) == ["first", "new"]

    def test_attempts_get_their_ids_in_order(self) -> None:
        [task] = stored(a_task())
        attempts = [an_attempt(task.pk, number) for number in (3, 1, 2)]

        store_attempts(attempts)

        numbers = dict(Attempt.objects.values_list("pk", "number"))
        assert numbers == {attempt["id"]: attempt["number"] for attempt in attempts}

    def test_of_no_rows_does_nothing(self, django_assert_num_queries: Any) -> None:
        with django_assert_num_queries(0):
            assert writes.insert(Task, []) == []
            writes.update_each(Task, [])


@pytest.mark.skipif(connection.vendor != "postgresql", reason="the others use two statements")
class TestInsertWithParent:
    def test_the_row_has_the_id_of_its_parent(self) -> None:
        task = a_task()

        writes.insert_with_parent(Task, fields_of(task), wake_up("mine"))

        assert Task.objects.get().wakeup_id == OrmQ.objects.get(key="mine").pk

    def test_without_the_row_there_is_no_parent(self) -> None:
        [task] = stored(a_task())

        with pytest.raises(DatabaseError), transaction.atomic():
            writes.insert_with_parent(Task, fields_of(task), wake_up("mine"))

        assert not OrmQ.objects.filter(key="mine").exists()


class TestLargeRows:
    """More than MariaDB takes in one statement: 16 MiB, unless its server is told otherwise."""

    def test_are_inserted_and_updated_by_several_statements(self) -> None:
        rows = stored(*(a_task(args=[str(n), "x" * 2**20]) for n in range(18)))
        values = [{"return_value": [n, "y" * 2**20]} for n in range(18)]

        writes.update_each(Task, [(r.pk, v) for r, v in zip(rows, values, strict=True)])

        assert [row.args[0] for row in rows] == [str(n) for n in range(18)]
        for row, value in zip(rows, values, strict=True):
            assert Task.objects.get(pk=row.pk).return_value == value["return_value"]

    def test_a_row_without_a_value_beside_the_databases_time_is_refused(self) -> None:
        rows = [a_task(started_at=DatabaseNow()), a_task(started_at=None)]

        with pytest.raises(ValueError, match=r"started_at.*: a row has the database's time, and "):
            stored(*rows)

    def test_rows_with_a_time_after_the_databases_all_have_the_same_one(self) -> None:
        hour, two = (DatabaseNow.after(timedelta(hours=n)) for n in (1, 2))

        now = DatabaseNow()
        for row in stored(*[a_task(enqueued_at=now, started_at=hour) for _ in range(2)]):
            assert row.started_at == row.enqueued_at + timedelta(hours=1)
        with pytest.raises(ValueError, match=r"started_at.*: a row has the database's time, and "):
            stored(a_task(started_at=hour), a_task(started_at=two))


class TestUpdateEach:
    def test_each_row_gets_its_own_values(self) -> None:
        rows = stored(*(a_task() for _ in range(3)))
        values = [{"worker": "w", "run_after": NOON + timedelta(n), "timeout": n} for n in range(3)]

        writes.update_each(Task, [(r.pk, v) for r, v in zip(rows, values, strict=True)])

        for row, value in zip(rows, values, strict=True):
            assert {name: getattr(Task.objects.get(pk=row.pk), name) for name in value} == value

    def test_no_other_row_is_changed(self) -> None:
        rows = stored(*(a_task() for _ in range(3)))

        writes.update_each(Task, [(row.pk, {"worker": "w"}) for row in rows[:2]])

        assert sorted(Task.objects.values_list("worker", flat=True)) == ["", "w", "w"]


class TestUpdating:
    @pytest.mark.parametrize("timeouts", [(1, 1, 1), (1, 2, 3)])
    def test_only_rows_for_which_the_condition_holds_are_updated_and_counted(
        self, timeouts: tuple[int, ...]
    ) -> None:
        rows = stored(*(a_task(priority=n) for n in range(3)))
        updates = [(row.pk, {"timeout": t}) for row, t in zip(rows, timeouts, strict=True)]
        only = writes.Condition("retrytasks_task.priority > %s", [0])

        done = writes.execute(writes.updating(Task, updates, only=only))

        assert done.written == 2
        kept = [Task.objects.get(pk=row.pk).timeout for row in rows]
        assert kept == [None, *timeouts[1:]]

    def test_nothing_is_done_before_the_statements_are_executed(self) -> None:
        [row] = stored(a_task())

        statements = writes.updating(Task, [(row.pk, {"worker": "w"})])

        assert Task.objects.get().worker == ""
        assert writes.execute(statements).written == 1
        assert Task.objects.get().worker == "w"


def an_attempt(task_id: UUID, number: int) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "number": number,
        "outcome": Attempt.Outcome.SUCCEEDED,
        "retry_count": 0,
        "queued_at": NOON,
        "started_at": NOON,
        "finished_at": NOON,
        "worker": "w",
        "decision": "succeeded",
    }


def wake_up(key: str) -> writes.Parent:
    row = {"key": key, "payload": "none", "lock": NOON}
    return writes.Parent(model=OrmQ, row=row, link="wakeup_id")
