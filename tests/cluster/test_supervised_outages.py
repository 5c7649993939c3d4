"""A supervised cluster whose database is away, or read-only, for longer than it may stand still."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from django_retrytasks.models import Status, Task
from tests.support import tasks
from tests.support.cluster import running_cluster, wait_for
from tests.support.servers import PostgreSQL, Server, run_once

OPTIONS = ("--max-stall", "5", "--grace", "1")
LEASE = "30"
# Longer than the stall that is allowed, shorter than the lease.
OUTAGE = 9


@pytest.fixture(scope="module")
def server(django_db_blocker: DjangoDbBlocker) -> Iterator[Server]:
    if missing := PostgreSQL.missing():
        pytest.skip(f"no server of its own to break: this machine lacks {missing}")
    server = PostgreSQL()
    with django_db_blocker.unblock(), server.running():
        yield server


@contextmanager
def away(server: Server) -> Iterator[None]:
    server.stop(server.immediate)
    yield
    server.start()


@run_once
@pytest.mark.cluster
@pytest.mark.parametrize("outage", [away, PostgreSQL.read_only])
def test_worker_that_holds_an_outcome_is_not_killed_for_an_outage(
    server: Server, tmp_path: Path, outage: Callable[[Server], AbstractContextManager[None]]
) -> None:
    log, notes = tmp_path / "log", tmp_path / "notes"
    notes.mkdir()
    with (
        server.connected(),
        running_cluster(log, OPTIONS, DATABASE_URL=server.url, RETRYTASKS_LEASE=LEASE) as cluster,
    ):
        Task.objects.all().delete()
        wait_for(lambda: len(cluster.having("worker")) == 2)
        main = cluster.main
        held = tasks.sleeps_noting.using(max_retries=0).enqueue(str(notes), 0.5)
        waiting = tasks.succeeds.using(run_after=timezone.now() + timedelta(seconds=1)).enqueue()
        wait_for(lambda: tasks.noted(notes) == ["start"])

        with outage(server):
            time.sleep(OUTAGE)

        wait_for(lambda: not Task.objects.unfinished().exists(), 30)
        ended_as = Task.objects.values_list("status", "attempt_count")
        assert list(ended_as.filter(pk__in=[held.id, waiting.id])) == [(Status.SUCCEEDED, 1)] * 2
        assert cluster.main == main
