"""Cancels that reach functions in real workers, from another process."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.models import Attempt, Status, Task
from tests.support import cancels, tasks
from tests.support.cluster import Cluster, running_cluster, wait_for
from tests.support.processes import send

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

LEASE = 5.0
# Seconds within which a cancel arrives: a quarter of the lease, and one beat more. The first beat
# comes a second after the start; the rest is for a busy machine.
ARRIVES = LEASE / 4 + 1 + 3
# django-q2's guard ends the worker within so many seconds of the cancel.
GRACE = 15 + ARRIVES


@pytest.fixture
def cluster(transactional_db: None, tmp_path: Path) -> Iterator[Cluster]:
    with running_cluster(
        tmp_path / "log", RETRYTASKS_LEASE=f"{LEASE}", Q_CLUSTER_WORKERS="1"
    ) as cluster:
        yield cluster


def row(result: Any) -> Task:
    return Task.objects.get(pk=result.id)


def the_attempt(result: Any) -> Attempt:
    return Attempt.objects.get(task=result.id)


def cancel_once_begun(result: Any, noted_in: str) -> float:
    wait_for(lambda: cancels.notes_in(noted_in))
    assert lifecycle.cancel([row(result).pk], by="anna", reason="wrong file") == 1
    return time.monotonic()


@pytest.mark.timed
@pytest.mark.usefixtures("cluster")
def test_it_arrives_in_time_and_the_same_worker_runs_the_next_task(noted_in: str) -> None:
    result = cancels.sleeps_in_a_process.enqueue(noted_in)
    cancelled_at = cancel_once_begun(result, noted_in)
    following = cancels.notes_process.enqueue(noted_in)

    wait_for(lambda: row(following).status == Status.SUCCEEDED, ARRIVES)

    assert time.monotonic() - cancelled_at < ARRIVES
    first, second = cancels.notes_in(noted_in)
    assert first == second
    attempt = the_attempt(result)
    assert (attempt.outcome, attempt.decision) == ("CANCELLED", "cancelled by anna: wrong file")
    assert attempt.exception_class_path == "django_retrytasks.exceptions.Cancelled"
    assert row(result).status == Status.DISCARDED


@pytest.mark.usefixtures("cluster")
def test_a_hang_that_no_exception_can_end_is_ended_by_the_guard(noted_in: str) -> None:
    result = cancels.hangs_in_c.enqueue(noted_in)
    cancel_once_begun(result, noted_in)
    following = cancels.notes_process.enqueue(noted_in)

    wait_for(lambda: row(following).status == Status.SUCCEEDED, GRACE + 10)

    first, second = cancels.notes_in(noted_in)
    assert first != second
    assert the_attempt(result).decision.endswith("; its end is not known yet")
    assert row(result).status == Status.DISCARDED


def test_a_worker_killed_after_the_cancel_changes_nothing(cluster: Cluster, noted_in: str) -> None:
    result = cancels.sleeps_in_a_process.enqueue(noted_in)
    cancel_once_begun(result, noted_in)
    before = row(result)

    send(signal.SIGKILL, *cancels.notes_in(noted_in))
    following = tasks.echoes.enqueue(1)
    wait_for(lambda: row(following).status == Status.SUCCEEDED)
    time.sleep(max(0.0, LEASE - 2))  # until the lease would have ended
    lifecycle.sweep()

    after = row(result)
    assert (after.status, after.attempt_count) == (before.status, 1) == (Status.DISCARDED, 1)
    assert the_attempt(result).outcome == "CANCELLED"
    assert len(cancels.notes_in(noted_in)) == 1
