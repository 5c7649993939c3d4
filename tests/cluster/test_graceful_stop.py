"""A cluster that is told to stop: what runs ends well, what waits goes to another worker."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest
from django.db import transaction

from django_retrytasks.models import Attempt, Status, Task
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, wait_for
from tests.support.processes import send
from tests.support.servers import run_once

SUCCEEDED = Attempt.Outcome.SUCCEEDED


@run_once
@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
def test_stop_lets_running_tasks_end_and_gives_back_the_others_at_once(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    with running_cluster(tmp_path / "first.log") as cluster:
        slow = claim_a_slow_task_among_others(notes)

        send(signal.SIGTERM, cluster.process.pid)

        wait_for(lambda: running() == [slow])
        assert tasks.noted(notes) == ["start"]
        assert cluster.process.poll() is None
        tasks.note(str(notes), "go on")
        assert cluster.process.wait(20) == 0
    assert tasks.noted(notes) == ["start", "go on", "end"]
    states = set(Task.objects.values_list("status", "attempt_count", "claim_token", "suspect"))
    assert states == {(Status.SUCCEEDED, 1, None, False), (Status.PENDING, 0, None, False)}
    assert Task.objects.get(pk=slow).status == Status.SUCCEEDED

    with running_cluster(tmp_path / "second.log"):
        # Sooner than a lease ends, and by the wake-ups that were left: no sweep is due so soon.
        wait_for(is_idle, 20)

    assert Counter(Attempt.objects.values_list("outcome", "number")) == {(SUCCEEDED, 1): 601}


def claim_a_slow_task_among_others(notes: Path) -> UUID:
    """Have a worker claim a slow Task with many others; return the slow one's id once it runs."""
    with transaction.atomic():
        # Quick Tasks first, so that workers come to claim many at once.
        tasks.succeeds.using(priority=2).enqueue_many([()] * 400)
        slow = tasks.runs_until_told.using(priority=1).enqueue(str(notes))
        tasks.naps.enqueue_many([(0.05,)] * 200)
    wait_for(lambda: tasks.noted(notes))
    return UUID(slow.id)


def running() -> list[UUID]:
    return list(Task.objects.filter(status=Status.RUNNING).values_list("pk", flat=True))
