"""What workers of a real cluster do with a claim when they are killed, frozen or slow."""

from __future__ import annotations

import os
import signal
import uuid
from collections import Counter
from pathlib import Path

import pytest
from django.db import transaction

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from tests.cluster.conftest import LEASE
from tests.support import tasks, together
from tests.support.cluster import is_idle, sweep_until, wait_for
from tests.support.rows import final, outcomes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rest"),
]
SUCCEEDED, FAILED = Attempt.Outcome.SUCCEEDED, Attempt.Outcome.FAILED
LOST, TIMED_OUT = Attempt.Outcome.LOST, Attempt.Outcome.TIMED_OUT


@pytest.mark.usefixtures("cluster")
class TestClaims:
    @pytest.mark.timed
    def test_slow_task_does_not_hold_its_neighbours(self, noted_in: str) -> None:
        # Quick Tasks first, so that workers come to claim many at once: the slow one among them.
        with transaction.atomic():
            tasks.succeeds.using(priority=2).enqueue_many([()] * 400)
            slow = tasks.sleeps_noting.using(priority=1).enqueue(noted_in, 4)
            tasks.succeeds.enqueue_many([()] * 100)
        first_note(noted_in)
        token = Task.objects.get(pk=slow.id).claim_token
        held = Task.objects.filter(claim_token=token).exclude(pk=slow.id)
        neighbours = Task.objects.filter(pk__in=list(held.values_list("pk", flat=True)))
        assert neighbours

        wait_for(lambda: not neighbours.unfinished().exists(), 3)

        # It still runs: what had ended was settled, what waited was given to the other worker.
        assert tasks.noted(noted_in) == ["start"]
        assert set(neighbours.values_list("status", "attempt_count")) == {(Status.SUCCEEDED, 1)}

    def test_task_whose_worker_is_killed_is_recorded_as_lost_and_runs_again(
        self, noted_in: str
    ) -> None:
        result = tasks.waits_at_first.enqueue(noted_in, 60)
        pid = first_note(noted_in)

        os.kill(int(pid), signal.SIGKILL)

        task = sweep_until(lambda: final(result))
        lost, succeeded = task.attempts.all()
        assert (lost.outcome, succeeded.outcome) == (LOST, SUCCEEDED)
        assert lost.exception_class_path == "django_retrytasks.exceptions.WorkerLost"
        assert lost.worker.split(":")[1] == pid
        assert [pid, succeeded.worker.split(":")[1]] == tasks.noted(noted_in)
        assert task.crash_count == 1

    def test_task_that_kills_every_worker_ends_failed_and_its_neighbours_are_not_charged(
        self, noted_in: str
    ) -> None:
        # Quick Tasks first, so that workers come to claim many at once: the poison among them.
        with transaction.atomic():
            tasks.succeeds.using(priority=2).enqueue_many([()] * 400)
            poison = tasks.kills_its_worker.using(priority=1).enqueue(noted_in)
            tasks.succeeds.enqueue_many([()] * 100)

        task = sweep_until(lambda: final(poison), seconds=60)

        assert task.stop_reason == StopReason.CRASHED
        assert outcomes(task) == [LOST, LOST, LOST]
        # The one start that goes unrecorded: in a batch nobody knows who was running.
        assert len(tasks.noted(noted_in)) == 4
        wait_for(is_idle)
        neighbours = Task.objects.filter(name=tasks.succeeds.module_path)
        assert neighbours.filter(suspect=True).exists()
        assert neighbours.filter(status=Status.SUCCEEDED, attempt_count=1).count() == 500

    def test_tasks_that_ran_together_are_charged_if_their_start_was_recorded(
        self, noted_in: str, tmp_path: Path
    ) -> None:
        occupy_one_worker(tmp_path / "slow")
        quick = together.naps.enqueue_many([(0,)] * 3)
        wait_for(lambda: all(final(result) for result in quick))
        # Two run at a time, so the last one starts when the second has ended: too late for the
        # heartbeat of the first one to record it, unless this machine is busy.
        results = together.waits_at_first.enqueue_many(
            [(noted_in, 60), (noted_in, 0.9), (noted_in, 60)]
        )
        rows = Task.objects.filter(pk__in=[result.id for result in results])
        first = uuid.UUID(results[0].id)
        wait_for(lambda: Task.objects.get(pk=first).was_started)
        [pid] = set(tasks.noted(noted_in))

        os.kill(int(pid), signal.SIGSTOP)
        charged = {row.pk for row in rows if row.was_started}
        os.kill(int(pid), signal.SIGKILL)

        sweep_until(lambda: not rows.unfinished().exists())
        assert first in charged
        for row in rows.all():
            assert outcomes(row) == [*([LOST] if row.pk in charged else []), SUCCEEDED]
        claims = [row.claimed_at for row in rows.all() if row.suspect]
        assert len(set(claims)) == len(claims) >= 2

    def test_outcome_of_a_worker_frozen_past_its_lease_is_refused(
        self, home: Path, noted_in: str
    ) -> None:
        result = tasks.waits_at_first.enqueue(noted_in, 2)
        pid = int(first_note(noted_in))

        os.kill(pid, signal.SIGSTOP)
        try:
            task = sweep_until(lambda: final(result))
        finally:
            os.kill(pid, signal.SIGCONT)

        wait_for(lambda: f"claim is over: id={task.pk}" in (home / "log").read_text())
        assert outcomes(task) == [LOST, SUCCEEDED]
        task.refresh_from_db()
        assert (task.status, task.attempt_count) == (Status.SUCCEEDED, 2)

    def test_worker_frozen_within_a_batch_does_not_start_the_rest(self, noted_in: str) -> None:
        # Quick Tasks first, so that workers come to claim many at once.
        with transaction.atomic():
            tasks.succeeds.using(priority=3).enqueue_many([()] * 400)
            tasks.freezes_its_worker.using(priority=2).enqueue(noted_in)
            rest = tasks.notes.using(priority=1).enqueue_many([(noted_in, "rest")] * 40)
        # The other worker may run some of the rest before.
        pid = wait_for(lambda: next(filter(str.isdigit, tasks.noted(noted_in)), ""))

        try:
            sweep_until(lambda: all(final(result) for result in rest), 60)
        finally:
            os.kill(int(pid), signal.SIGCONT)
        wait_for(is_idle)

        assert Counter(tasks.noted(noted_in)) == {pid: 1, "rest": 40}

    def test_task_longer_than_the_lease_is_kept_by_its_heartbeat(self, noted_in: str) -> None:
        result = tasks.sleeps_noting.enqueue(noted_in, LEASE + 2)

        task = sweep_until(lambda: final(result))

        assert outcomes(task) == [SUCCEEDED]
        assert tasks.noted(noted_in) == ["start", "end"]

    def test_receiver_that_hangs_does_not_cost_the_next_task_its_lease(self, noted_in: str) -> None:
        # Quick Tasks first, so that one claim takes both: the one's ending is told of while the
        # other runs.
        with transaction.atomic():
            tasks.succeeds.using(priority=3).enqueue_many([()] * 400)
            tasks.connects_a_receiver_that_hangs.using(priority=2).enqueue(LEASE + 5)
            result = tasks.sleeps_noting.using(priority=1).enqueue(noted_in, LEASE + 3)

        task = sweep_until(lambda: final(result))

        assert tasks.noted(noted_in) == ["start", "end"]
        assert outcomes(task) == [SUCCEEDED]


def occupy_one_worker(directory: Path) -> None:
    """Have one of the two workers run a slow Task, which notes its start, for some seconds."""
    directory.mkdir()
    tasks.sleeps_noting.enqueue(str(directory), 4)
    first_note(str(directory))


def first_note(directory: str) -> str:
    """Return the first note as soon as it is written."""
    return wait_for(lambda: "".join(tasks.noted(directory)[:1]))
