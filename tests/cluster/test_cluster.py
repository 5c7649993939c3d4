"""What a site sees of one cluster on a real database, from the enqueue to the mail."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from django_retrytasks.broker import clusters
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import entries
from django_retrytasks.worker.batch import GIVE_BACKS
from tests.cluster.conftest import LEASE
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, sweep_until, wait_for
from tests.support.rows import final, finished, lateness, outcomes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("rest"),
]
POLL = 0.2
SUCCEEDED, FAILED = Attempt.Outcome.SUCCEEDED, Attempt.Outcome.FAILED
LOST, TIMED_OUT = Attempt.Outcome.LOST, Attempt.Outcome.TIMED_OUT
SOURCE = """
from django_retrytasks import retry_task

@retry_task(max_retries=1)
def answer():
    return 42
"""
slow_and_the_same_on_every_database = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="takes half a minute and is run on SQLite"
)


@pytest.mark.usefixtures("cluster")
class TestOneCluster:
    def test_failing_task_is_tried_four_times_then_announced_by_mail(self, home: Path) -> None:
        task = finished(tasks.fails_soon_again.enqueue())

        assert task.status == Status.FAILED
        assert task.stop_reason == StopReason.MAX_RETRIES
        assert task.retry_count == 3
        attempts = task.attempts.values_list("number", "outcome", "retry_count")
        assert list(attempts) == [(1, FAILED, 0), (2, FAILED, 1), (3, FAILED, 2), (4, FAILED, 3)]
        wait_for(is_idle)
        announced = Task.objects.filter(internal=True).values_list("name", "status")
        assert sorted(announced) == [
            ("django_retrytasks.alerts.announcements.announce_failures", Status.SUCCEEDED),
            ("django_retrytasks.alerts.sending.send_alert", Status.SUCCEEDED),
            ("django_retrytasks.alerts.sending.send_alert", Status.SUCCEEDED),
        ]
        mails = [mail.read_text() for mail in (home / "mail").iterdir()]
        (alert,) = [mail for mail in mails if "fails_soon_again failed" in mail]
        assert "(attempt 4)" in alert
        assert str(task.pk) in alert

    @pytest.mark.timed
    def test_deferred_tasks_and_their_retries_run_on_time_and_never_early(
        self, tell: Callable[[str], None]
    ) -> None:
        # One by one, at every phase of the cluster's poll.
        start = timezone.now() + timedelta(seconds=1)
        moments = [start + timedelta(seconds=0.17 * number) for number in range(20)]

        results = [
            tasks.fails_at_first.using(run_after=at, countdown=0.6 + 0.01 * number).enqueue()
            for number, at in enumerate(moments)
        ]

        rows = [finished(result) for result in results]
        assert [row.attempts.get(number=1).queued_at for row in rows] == moments
        for number, kind in ((1, "deferred"), (2, "retried")):
            late = sorted(lateness(row.attempts.get(number=number)) for row in rows)
            tell(f"{kind} Tasks, ms late: {[round(1000 * seconds) for seconds in late]}")
            assert late[0] >= 0
            assert statistics.median(late) <= POLL + 0.05
            # Another process may hold the processor for a while: two of 20 may be later.
            assert late[17] <= POLL + 0.2

    def test_module_that_is_gone_fails_the_task_and_not_the_worker(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = home / "gone.py"
        answer = imported(module, monkeypatch)
        module.unlink()

        task = finished(enqueued_without_grace(answer))

        assert task.stop_reason == StopReason.NOT_IMPORTABLE
        assert outcomes(task) == [FAILED, FAILED]
        worker = task.attempts.get(number=2).worker
        wait_for(lambda: finished(tasks.succeeds.enqueue()).worker == worker)

    def test_module_that_is_broken_by_a_deploy_and_mended_succeeds_at_the_retry(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = home / "broken.py"
        answer = imported(module, monkeypatch)
        module.write_text("this is no Python")

        result = enqueued_without_grace(answer)

        wait_for(lambda: Attempt.objects.filter(task=result.id).exists())
        module.write_text(SOURCE)
        task = finished(result)
        assert outcomes(task) == [FAILED, SUCCEEDED]
        assert "broken" in task.attempts.get(number=1).exception_message
        assert task.return_value == 42

    def test_module_that_arrives_in_a_rolling_deploy_costs_no_attempt(
        self, home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        module = home / "arriving.py"
        answer = imported(module, monkeypatch)
        module.unlink()

        result = answer.enqueue()

        wait_for(lambda: Task.objects.get(pk=result.id).given_back_count)
        module.write_text(SOURCE)
        assert outcomes(finished(result)) == [SUCCEEDED]

    def test_timeout_ends_a_task_that_swallows_exceptions(self) -> None:
        task = finished(tasks.swallows_exceptions.enqueue(20))

        attempt = task.attempts.get()
        assert attempt.outcome == TIMED_OUT
        assert 0.3 <= (attempt.finished_at - attempt.started_at).total_seconds() < 5

    @slow_and_the_same_on_every_database
    def test_hang_that_no_exception_can_end_is_ended_by_the_guard_and_lost(self) -> None:
        result = tasks.hangs_in_c.enqueue()

        task = sweep_until(lambda: final(result), seconds=60)

        assert task.stop_reason == StopReason.CRASHED
        attempt = task.attempts.get()
        assert attempt.outcome == LOST
        # The timeout, the grace, a cycle of the guard, and what then was left of the lease.
        took = (attempt.finished_at - attempt.started_at).total_seconds()
        assert 1 + clusters.GRACE <= took < 1 + clusters.GRACE + 1 + LEASE + 5

    def test_queue_of_another_cluster_is_served_by_that_cluster_alone(self, home: Path) -> None:
        slow = tasks.tells_cluster.using(queue_name="slow").enqueue()

        for _ in range(5):
            assert finished(tasks.tells_cluster.enqueue()).return_value is None
        assert Task.objects.get(pk=slow.id).status == Status.PENDING
        with running_cluster(home / "slow.log", Q_CLUSTER_NAME="slow"):
            assert finished(slow).return_value == "slow"

    def test_task_of_a_rolled_back_transaction_leaves_nothing(self) -> None:
        with transaction.atomic():
            tasks.succeeds.enqueue()
            assert Task.objects.exists()
            assert OrmQ.objects.exists()
            transaction.set_rollback(True)

        assert not Task.objects.exists()
        assert not OrmQ.objects.exists()

    def test_task_runs_only_after_its_transaction_has_committed(self) -> None:
        with transaction.atomic():
            result = tasks.succeeds.enqueue()
            # Held open while the cluster looks for work a few times.
            time.sleep(3 * POLL)
            before_commit = timezone.now()

        attempt = finished(result).attempts.get()
        assert attempt.started_at >= before_commit

    def test_sweep_finds_every_task_whose_wake_up_was_purged_under_load(self) -> None:
        for _ in range(20):
            tasks.fails_twice.enqueue_many([()] * 50)
            OrmQ.objects.all().delete()
        with transaction.atomic():
            forgotten = tasks.fails_twice.enqueue()
            OrmQ.objects.all().delete()

        sweep_until(lambda: not Task.objects.unfinished().exists(), seconds=60)

        assert Task.objects.filter(status=Status.SUCCEEDED, attempt_count=3).count() == 1001
        assert outcomes(Task.objects.get(pk=forgotten.id)) == [FAILED, FAILED, SUCCEEDED]

    @pytest.mark.parametrize(
        "stale", [{"payload": "signed:by:another-key"}, {"key": "the-old-name"}]
    )
    def test_task_whose_wake_up_no_cluster_takes_any_more_runs_after_the_sweep(
        self, stale: dict[str, str]
    ) -> None:
        # As after a change of SECRET_KEY, or of the cluster's name.
        with transaction.atomic():
            result = tasks.succeeds.enqueue()
            OrmQ.objects.update(**stale)

        sweep_until(lambda: final(result))

        assert outcomes(Task.objects.get(pk=result.id)) == [SUCCEEDED]
        OrmQ.objects.filter(**stale).delete()

    @slow_and_the_same_on_every_database
    def test_schedule_runs_the_sweep(self) -> None:
        with transaction.atomic():
            result = tasks.succeeds.enqueue()
            OrmQ.objects.all().delete()
        # The cluster looks at its schedules twice a minute.
        past = timezone.now() - timedelta(seconds=1)
        assert Schedule.objects.filter(func=entries.SWEEP_ENTRY).update(next_run=past) == 1

        assert finished(result, seconds=45).status == Status.SUCCEEDED


def enqueued_without_grace(task: Any) -> Any:
    """Enqueue a Task that has been given back as often as it is for want of its code."""
    with transaction.atomic():
        result = task.enqueue()
        Task.objects.filter(pk=result.id).update(given_back_count=GIVE_BACKS)
    return result


def imported(module: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a module with a task where the cluster finds it; return the task."""
    module.write_text(SOURCE)
    monkeypatch.syspath_prepend(str(module.parent))
    # On the call, where they are known whatever becomes of the module.
    return import_module(module.stem).answer.using(countdown=0.5, jitter=False)
