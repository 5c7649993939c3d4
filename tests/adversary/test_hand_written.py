"""Rows that somebody writes by hand: what Python cannot read is refused, the rest stops nobody."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.apps import apps
from django.db import Error, connection, models, transaction
from django.utils import timezone

from django_retrytasks import worker
from django_retrytasks.lifecycle import breakers, pauses, workers
from django_retrytasks.models import Operation, Status, Task
from tests.support import service, tasks
from tests.support.declarations import declared
from tests.support.driver import KEY, Driver
from tests.support.outage import NAME
from tests.support.outage import new_worker as new_worker

pytestmark = pytest.mark.django_db

WRONG_MOMENTS = {
    "postgresql": ("'infinity'", "'-infinity'", "'10000-01-01'", "'0001-01-01 BC'"),
    "mysql": ("'0000-00-00 00:00:00'", "'0999-12-31 00:00:00'", "'9999-12-31 00:00:00'"),
    "sqlite": (
        *("'2026-13-45 00:00:00'", "'2026-02-30 00:00:00'", "'12026-01-01 00:00:00'", "''"),
        *("'0999-12-31 00:00:00'", "'9999-12-31 00:00:00'", "'tomorrow'", "'now'", "5", "x'00'"),
    ),
}
DASHED, UPPER = "'00000000-0000-8000-8000-00000000000a'", f"'{'A' * 32}'"
# What SQLite would store in a column of a type, by the first word of the type.
WRONG_ON_SQLITE = {
    "datetime": WRONG_MOMENTS["sqlite"],
    "char(32)": (DASHED, UPPER, "'x'", "''", "x'00'"),
    "bool": ("'yes'", "x'00'"),
    "real": ("'soon'", "x'00'"),
    "text": ("x'00'",),
    "varchar": ("x'00'",),
    **dict.fromkeys(("integer", "smallint"), ("'high'", "1.5", "x'00'", "2147483648")),
    "bigint": ("'high'", "1.5", "x'00'"),
}
TABLES: dict[str, Any] = {
    model.__name__: model for model in apps.get_app_config("retrytasks").get_models()
}
# What a database may take: from each type's range, its ends, and nothing.
TAKEN = ("NULL", "''", "-1", "32767", "2147483647", "1e300")
TAKEN_MOMENTS = ("'1000-01-02 00:00:00'", "'2026-03-29 02:30:00'", "'9999-12-30 00:00:00'")
# The largest count.
LAST = "4294967295" if connection.vendor == "mysql" else "2147483647"
# The first one would stop this test's own transaction; the second one is the end of all ids, also
# after a rollback.
NOT_TRIED = {("attempt_count", LAST), ("id", "2147483647")}


@pytest.fixture(autouse=True)
def rows(driver: Driver, no_declarations: None) -> None:
    """Store a row of each table: all that workers and the sweep come upon."""
    tasks.raises.using(max_retries=0).enqueue("OSError")
    driver.run_due()
    tasks.echoes.enqueue(1)
    declared(args=[1])
    breakers.open_breaker(NAME, probe_every=60)
    pauses.pause(name="tests.support.tasks.succeeds")
    workers.note("host:1:one", KEY, age=60, idle=1)
    now = timezone.now()
    tally = {"succeeded_count": 1, "retried_count": 0, "failed_count": 0}
    TABLES["Tally"].objects.create(minute=now.replace(second=0, microsecond=0), **tally)
    about = {"newest": uuid.uuid4(), "cursor": uuid.uuid4(), "matched_count": 0}
    Operation.objects.create(verb="REDRIVE", selection=[], started_at=now, **about)
    assert all(model.objects.exists() for model in TABLES.values())


def columns(table: str) -> list[str]:
    return [field.column for field in TABLES[table]._meta.concrete_fields]


def write(table: str, column: str, literal: str) -> None:
    """Write a value into a column of each row."""
    quote = connection.ops.quote_name
    name = TABLES[table]._meta.db_table
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE {quote(name)} SET {quote(column)} = {literal}")


def takes(table: str, column: str, literal: str) -> bool:
    """Whether the database takes a value."""
    try:
        write(table, column, literal)
    except Error:
        return False
    return True


def wrong_values(table: str, column: str) -> tuple[str, ...]:
    """Return what cannot be read in a column."""
    field: Any = next(f for f in TABLES[table]._meta.concrete_fields if f.column == column)
    if connection.vendor != "sqlite":
        return WRONG_MOMENTS[connection.vendor] if is_moment(field) else ()
    kind = field.db_type(connection)
    known = (word for word in WRONG_ON_SQLITE if kind.startswith(word))
    return WRONG_ON_SQLITE[next(known)]


def is_moment(field: Any) -> bool:
    return isinstance(field, models.DateTimeField)


@contextmanager
def mariadb_takes_all() -> Iterator[None]:
    """Let MariaDB take year 0, and cut what is too long, as some sites do."""
    if connection.vendor != "mysql":
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET @before = @@sql_mode, sql_mode = ''")
        try:
            yield
        finally:
            cursor.execute("SET sql_mode = @before")


@pytest.mark.parametrize("table", TABLES)
def test_what_cannot_be_read_is_refused(table: str) -> None:
    with mariadb_takes_all():
        for column in columns(table):
            wrong = wrong_values(table, column)
            assert [literal for literal in wrong if takes(table, column, literal)] == [], column


@pytest.mark.parametrize("table", TABLES)
def test_whatever_else_is_written_stops_nobody(table: str) -> None:
    for column in columns(table):
        for literal in (*TAKEN, *TAKEN_MOMENTS):
            if (column, literal) in NOT_TRIED:
                continue
            with transaction.atomic():
                if takes(table, column, literal):
                    assert the_others_go_on(), f"{column} = {literal}"
                transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_a_count_at_its_end_is_logged_and_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    write("Task", "attempt_count", LAST)

    assert the_others_go_on()
    assert "its attempt cannot be recorded" in caplog.text


def the_others_go_on() -> bool:
    """Whether workers and a sweep do their work beside such a row."""
    others: list[Any] = [tasks.tells_time.enqueue(), service.calls_host.enqueue("other")]
    worker.sweep()
    worker.run(KEY)
    rows = Task.objects.filter(pk__in=[other.id for other in others])
    return {row.status for row in rows} == {Status.SUCCEEDED}
