"""A database that restarts, dies, goes away or cuts every connection under a cluster at work."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection
from pytest_django import DjangoDbBlocker

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.worker import sessions
from tests.support import tasks
from tests.support.cluster import running_cluster, wait_for
from tests.support.driver import Driver
from tests.support.servers import MariaDB, PostgreSQL, Server, run_once

LOAD = 120
# Another process of the site: it reads, writes a row of its own and enqueues, in one transaction.
WRITER = """
import sys
import django
django.setup()
from django.contrib.auth.models import Group
from django.db import transaction
from tests.support import tasks
for number in range(150):
    with transaction.atomic():
        Group.objects.filter(name="none").exists()
        Group.objects.create(name=f"{sys.argv[1]} {number}")
        tasks.adds_group.enqueue(f"{sys.argv[1]} {number} task")
"""
FAILED, SUCCEEDED = Attempt.Outcome.FAILED, Attempt.Outcome.SUCCEEDED
# Longer than a cluster's next wake-up, shorter than the lease: every outcome can be settled.
AWAY = 8
READ_ONLY = 5


class Site:
    """The tests' site on a server of its own, with a cluster that works."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server = server
        self._home = home
        self._notes = home

    @contextmanager
    def running(self) -> Iterator[None]:
        with (
            self.server.running(),
            self.server.connected(),
            running_cluster(self._home / "log", DATABASE_URL=self.server.url),
        ):
            yield

    def start_work(self) -> None:
        """Give the cluster Tasks of 20 to 50 ms; return when it is busy."""
        with self.server.connected():
            Task.objects.all().delete()
            self._notes = self._home / f"notes{time.monotonic_ns()}"
            self._notes.mkdir()
            load = [(str(self._notes), 0.02 + 0.03 * i / LOAD) for i in range(LOAD)]
            tasks.sleeps_noting.enqueue_many(load)
            wait_for(lambda: Task.objects.filter(status=Status.SUCCEEDED).count() > 4)

    def assert_all_ran_once(self) -> None:
        """Assert that work went on as if nothing had been: once each, nothing lost or charged."""
        with self.server.connected():
            wait_for(lambda: not Task.objects.unfinished().exists(), 60)
            ended = Task.objects.values_list("status", "attempt_count", "suspect")
            assert Counter(ended) == {(Status.SUCCEEDED, 1, False): LOAD}
            attempts = Attempt.objects.values_list("outcome", "number")
            assert Counter(attempts) == {(SUCCEEDED, 1): LOAD}
        assert Counter(tasks.noted(self._notes)) == {"start": LOAD, "end": LOAD}


@pytest.fixture(scope="module")
def sites(
    django_db_blocker: DjangoDbBlocker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[list[Site]]:
    """A PostgreSQL and a MariaDB that go through each fault side by side."""
    for kind in (PostgreSQL, MariaDB):
        if missing := kind.missing():
            pytest.skip(f"no server of its own to break: this machine lacks {missing}")
    pytest.importorskip("MySQLdb", reason="without mysqlclient there is no MariaDB")
    with ExitStack() as stack:
        stack.enter_context(django_db_blocker.unblock())
        sites = [
            Site(kind(), tmp_path_factory.mktemp(kind.scheme)) for kind in (PostgreSQL, MariaDB)
        ]
        for site in sites:
            stack.enter_context(site.running())
        yield sites


def restart_fast(sites: list[Site]) -> None:
    for site in sites:
        site.server.restart(site.server.fast)


def restart_after_a_crash(sites: list[Site]) -> None:
    for site in sites:
        site.server.restart(site.server.immediate)


def stay_away(sites: list[Site]) -> None:
    for site in sites:
        site.server.stop(site.server.immediate)
    time.sleep(AWAY)
    for site in sites:
        site.server.start()


def cut_every_connection(sites: list[Site]) -> None:
    for _ in range(3):
        for site in sites:
            site.server.cut_off()
        time.sleep(0.2)


def be_read_only(sites: list[Site]) -> None:
    with ExitStack() as stack:
        for site in sites:
            stack.enter_context(site.server.read_only())
        time.sleep(READ_ONLY)


@run_once
@pytest.mark.cluster
@pytest.mark.parametrize(
    "befall", [restart_fast, restart_after_a_crash, stay_away, cut_every_connection, be_read_only]
)
def test_tasks_run_once_and_are_not_charged_for_an_outage(
    sites: list[Site], befall: Callable[[list[Site]], None]
) -> None:
    for site in sites:
        site.start_work()

    befall(sites)

    for site in sites:
        site.assert_all_ran_once()


@contextmanager
def connection_lost_at(number: int) -> Iterator[list[str]]:
    """Lose the connection at one statement or commit of the body, the commits carried out.

    Yields a list that holds the statement once it has been reached.
    """
    reached: list[str] = []
    counter = itertools.count(1)
    commit = connection.commit

    def lose(what: str) -> None:
        if next(counter) == number:
            reached.append(what)
            raise OperationalError("server closed the connection unexpectedly")

    def execute(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        lose(sql)
        return execute(sql, params, many, context)

    def commit_unanswered() -> None:
        commit()
        lose("COMMIT")

    with connection.execute_wrapper(execute), pytest.MonkeyPatch.context() as patch:
        patch.setattr(connection, "commit", commit_unanswered)
        yield reached


@pytest.mark.django_db(transaction=True)
def test_connection_lost_at_any_one_statement_or_commit_changes_nothing(driver: Driver) -> None:
    sessions.watch()  # a worker's watch comes before what wraps its statements later
    for number in itertools.count(1):
        result = tasks.fails_at_first.using(countdown=0).enqueue()

        with connection_lost_at(number) as reached:
            driver.run_due()
        driver.drain()  # on a slow machine the slice may be over before the retry

        assert driver.row(result).status == Status.SUCCEEDED, reached
        attempts = [(one.number, one.outcome) for one in driver.attempts(result)]
        assert attempts == [(1, FAILED), (2, SUCCEEDED)], reached
        if not reached:
            assert number > 10
            break


@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="only SQLite lets one writer in at a time"
)
@run_once
@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_sqlite_with_the_advised_settings_is_never_locked_for_anyone(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with running_cluster(log):
        writers = [
            subprocess.Popen([sys.executable, "-c", WRITER, name]) for name in ("one", "two")
        ]

        assert [writer.wait(60) for writer in writers] == [0, 0]
        wait_for(lambda: not Task.objects.unfinished().exists())

    assert "locked" not in log.read_text()
    attempts = Attempt.objects.values_list("outcome", "number")
    assert Counter(attempts) == {(SUCCEEDED, 1): 300}
    assert Group.objects.filter(name__endswith=" task").count() == 300
