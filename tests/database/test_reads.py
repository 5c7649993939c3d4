"""Rows read by hand-made SQL are those that the ORM reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.db.models import Value
from django.db.models.signals import post_init, pre_init

from django_retrytasks.database import DATABASE_NOW, DatabaseNow, reads
from django_retrytasks.models import Attempt, Task, Unreadable
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


def read(where: str = "1 = 1") -> list[Task]:
    columns = f"{reads.columns_of(Task)}, {DatabaseNow.sql(connection)}, 7"
    sql = f"SELECT {columns} FROM retrytasks_task WHERE {where} ORDER BY id"
    return reads.rows_of(Task, sql, [], {DATABASE_NOW: DatabaseNow(), "seven": Value(7)})


def fields(task: Task) -> dict[str, Any]:
    return {name: value for name, value in vars(task).items() if name != "_state"}


@pytest.fixture
def varied(driver: Driver) -> list[Task]:
    """Return Tasks as the ORM reads them, of many states and values."""
    tasks.echoes.enqueue_many([([1, {"a": True}],), ([1, {"a": True}],)])
    tasks.echoes.using(timeout=2.5, priority=7, expires=60, queue_name="mail").enqueue("é")
    driver.attempt(tasks.always_fails.enqueue())
    driver.attempt(tasks.fails_once_for_all.enqueue())
    driver.attempt(tasks.echoes.enqueue(None))
    return list(Task.objects.annotate(database_now=DatabaseNow()).order_by("id"))


def test_every_field_is_as_the_orm_reads_it(varied: list[Task]) -> None:
    rows = read()

    own = [{k: v for k, v in fields(row).items() if k != DATABASE_NOW} for row in rows]
    orm = [{k: v for k, v in fields(row).items() if k != DATABASE_NOW} for row in varied]
    assert own == [{**each, "seven": 7} for each in orm]
    assert [repr(row.args) for row in rows] == [repr(row.args) for row in varied]
    assert [row._state.db for row in rows] == ["default"] * len(varied)
    assert not any(row._state.adding for row in rows)
    moments = [getattr(row, DATABASE_NOW) for row in (*rows, *varied)]
    assert (max(moments) - min(moments)).total_seconds() < 20
    assert {moment.utcoffset() for moment in moments} == {varied[0].enqueued_at.utcoffset()}


def test_no_two_rows_share_a_value_that_can_change(varied: list[Task]) -> None:
    one, other = (row for row in read() if row.args == [[1, {"a": True}]])

    one.args[0].append("changed")
    one.kwargs["changed"] = one.options["changed"] = True

    assert (other.args, other.kwargs, other.options) == ([[1, {"a": True}]], {}, {})


def test_an_unreadable_value_spoils_no_other_row(varied: list[Task]) -> None:
    spoilt, *others = varied
    Task.objects.filter(pk=spoilt.pk).update(args=Value("{not json"))

    first, *rest = read()

    assert isinstance(first.args, Unreadable)
    assert [row.args for row in rest] == [row.args for row in others]


@pytest.fixture
def newer_column(transactional_db: None) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE retrytasks_task ADD COLUMN newer integer DEFAULT 0")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE retrytasks_task DROP COLUMN newer")


@pytest.mark.usefixtures("newer_column")
def test_a_column_of_a_newer_release_stops_no_worker(driver: Driver) -> None:
    results = tasks.echoes.enqueue_many([(1,), (2,)])
    urgent = tasks.echoes.using(priority=1).enqueue(3)

    driver.run_due()

    rows = [driver.row(result) for result in (*results, urgent)]
    assert [(row.status, row.return_value) for row in rows] == [("SUCCEEDED", n) for n in (1, 2, 3)]


def test_no_rows_are_none() -> None:
    assert read("1 = 0") == []


@pytest.fixture
def watched() -> Iterator[list[tuple[str, Any]]]:
    """Return what receivers of pre_init and post_init hear of Tasks."""
    heard: list[tuple[str, Any]] = []

    def before(args: Any, kwargs: Any, **details: Any) -> None:
        heard.append(("pre_init", len(args) or sorted(kwargs)))

    def after(instance: Task, **details: Any) -> None:
        heard.append(("post_init", instance.name))

    pre_init.connect(before, sender=Task)
    post_init.connect(after, sender=Task)
    yield heard
    pre_init.disconnect(before, sender=Task)
    post_init.disconnect(after, sender=Task)


class TestQuickRow:
    def test_receivers_hear_of_each_row_that_is_read_or_made(
        self, watched: list[tuple[str, Any]]
    ) -> None:
        tasks.echoes.enqueue(1)
        [(first, _), second] = watched
        watched.clear()

        [row] = read()

        name = tasks.echoes.module_path
        assert (first, second) == ("pre_init", ("post_init", name))
        assert watched == [("pre_init", len(Task._meta.concrete_fields)), ("post_init", name)]
        known = {field.attname: getattr(row, field.attname) for field in Task._meta.concrete_fields}
        assert known == Task.objects.values().get()
        assert not row._state.adding

    def test_a_new_row_is_as_the_constructor_makes_it(self) -> None:
        values = {"name": "shop.tasks.pay", "queue_name": "mail", "backend": "default", "args": []}

        new, constructed = Task.new(**values), Task(**values)

        assert vars(new).keys() == vars(constructed).keys()
        assert (new._state.adding, new._state.db) == (True, None)
        assert new.pk != constructed.pk
        assert fields(new) | {"id": None} == fields(constructed) | {"id": None}
        assert new.options is not Task.new(**values).options

    def test_a_field_that_was_not_read_is_read_when_it_is_asked_for(self, driver: Driver) -> None:
        driver.attempt(tasks.always_fails.enqueue())

        attempt = Attempt.objects.only("number").get()

        assert attempt.get_deferred_fields() > {"outcome", "worker"}
        assert attempt.outcome == "FAILED"
