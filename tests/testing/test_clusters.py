"""A real cluster on the test's database: it runs Tasks, and no process outlives it."""

from __future__ import annotations

import os
import signal
from datetime import timedelta

import pytest
from django.db import connection

from django_retrytasks.testing import advance, assert_attempts, running_cluster
from tests.support import tasks
from tests.support.processes import session

DAY = timedelta(days=1)


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_cluster_runs_tasks_and_says_why_one_is_not_finished() -> None:
    with running_cluster() as cluster:
        result = tasks.fails_twice.enqueue()
        later = tasks.succeeds.using(run_after=DAY).enqueue()

        assert cluster.wait_for(result).return_value == 3
        assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"])
        assert "ready for work" in cluster.log

        with pytest.raises(AssertionError, match=r"not within 0.1 s\n.*succeeds .*due in 8\d{4}"):
            cluster.wait_for(later, seconds=0.1)
        advance(DAY)
        cluster.wait_for(later)
    assert session(cluster.pid) == []


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_cluster_that_has_ended_is_not_waited_for() -> None:
    with running_cluster("slow") as cluster:
        os.killpg(cluster.pid, signal.SIGKILL)

        with pytest.raises(AssertionError, match="its cluster has ended"):
            cluster.wait_for(tasks.succeeds.enqueue())


@pytest.mark.django_db
def test_test_in_a_transaction_is_refused() -> None:
    assert connection.in_atomic_block

    with pytest.raises(AssertionError, match=r"in a transaction.* Use TransactionTestCase, or"):
        running_cluster().__enter__()


@pytest.mark.django_db(transaction=True)
def test_sync_mode_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django_q.conf.Conf.SYNC", True)

    with pytest.raises(AssertionError, match="is on, so the enqueuing process runs the Tasks"):
        running_cluster().__enter__()


@pytest.mark.django_db(transaction=True)
def test_unknown_cluster_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no cluster 'slo'\. Did you mean \"slow\""):
        running_cluster("slo").__enter__()
