"""What a site sees: real clusters on a real database, workers killed and frozen."""

from __future__ import annotations

import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from django_retrytasks.broker import clusters, wakeups
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values import entries
from django_retrytasks.worker.batch import GIVE_BACKS
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, sweep_until, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

POLL = 0.2
# Short, so that what a dead worker held is soon due again.
LEASE = 5
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


@pytest.fixture(scope="class")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a class's cluster: its log, its mail, modules it can import."""
    return tmp_path_factory.mktemp("cluster")


@pytest.fixture(scope="class")
def cluster(django_db_setup: None, home: Path) -> Iterator[None]:
    path = os.pathsep.join(filter(None, (str(home), os.environ.get("PYTHONPATH"))))
    with running_cluster(
        home / "log",
        RETRYTASKS_LEASE=str(LEASE),
        MAIL_DIRECTORY=str(home / "mail"),
        PYTHONPATH=path,
    ):
        yield


@pytest.fixture(scope="class")
def hasty_cluster(django_db_setup: None, home: Path) -> Iterator[None]:
    """A cluster that gives its packages 3 s and delivers them again after 4 s."""
    with running_cluster(
        home / "log", RETRYTASKS_LEASE=str(LEASE), Q_CLUSTER_TIMEOUT="3", Q_CLUSTER_RETRY="4"
    ):
        yield


@pytest.fixture(scope="class")
def three_clusters(django_db_setup: None, home: Path) -> Iterator[None]:
    with ExitStack() as stack:
        for number in range(3):
            stack.enter_context(running_cluster(home / f"log{number}"))
        yield


@pytest.fixture(autouse=True)
def _rest(transactional_db: None) -> Iterator[None]:
    """Let the cluster come to rest before the tables are emptied under it."""
    yield
    wait_for(is_idle)


@pytest.fixture
def noted_in(tmp_path: Path) -> str:
    """Return an empty directory for a Task to note in."""
    directory = tmp_path / "notes"
    directory.mkdir()
    return str(directory)


@pytest.fixture
def tell(capfd: pytest.CaptureFixture[str], pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Return a function that shows a measurement, though the test passes."""
    reporter: Any = pytestconfig.pluginmanager.get_plugin("terminalreporter")

    def write(line: str) -> None:
        with capfd.disabled():
            reporter.write_line(line)

    return write


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
        pid = int(first_note(noted_in))

        try:
            sweep_until(lambda: all(final(result) for result in rest), 60)
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_for(is_idle)

        assert tasks.noted(noted_in)[1:] == ["rest"] * 40

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


@pytest.mark.usefixtures("hasty_cluster")
class TestHastyCluster:
    def test_task_longer_than_the_clusters_timeout_runs_once(self, noted_in: str) -> None:
        results = [
            tasks.sleeps_noting.enqueue(noted_in, 5),
            tasks.sleeps_noting.using(timeout=8).enqueue(noted_in, 5),
        ]

        rows = [finished(result) for result in results]

        assert [outcomes(row) for row in rows] == [[SUCCEEDED], [SUCCEEDED]]
        assert tasks.noted(noted_in) == ["start", "start", "end", "end"]

    def test_wake_ups_delivered_again_and_again_run_no_task_twice(self, noted_in: str) -> None:
        results = [tasks.sleeps_noting.enqueue(noted_in, 1.5) for _ in range(8)]
        wakeups.write("retrytasks-tests", [wakeups.now()] * 30)

        rows = [finished(result) for result in results]

        assert [outcomes(row) for row in rows] == [[SUCCEEDED]] * 8
        assert sorted(tasks.noted(noted_in)) == ["end"] * 8 + ["start"] * 8


@pytest.mark.usefixtures("three_clusters")
class TestThreeClusters:
    def test_each_of_5000_tasks_runs_once(self, noted_in: str, tell: Callable[[str], None]) -> None:
        start = time.monotonic()
        with transaction.atomic():
            tasks.counts.enqueue_many([(noted_in, number) for number in range(5000)])
            # For every worker, and more, so that all of them claim at once.
            wakeups.write("retrytasks-tests", [wakeups.now()] * 12)
        enqueued = time.monotonic() - start

        wait_for(lambda: not Task.objects.unfinished().exists(), 120)

        tell(f"5,000 Tasks: enqueued in {enqueued:.1f} s, run in {time.monotonic() - start:.1f} s")
        assert tasks.counted(noted_in) == list(range(5000))
        assert Task.objects.filter(status=Status.SUCCEEDED, attempt_count=1).count() == 5000
        assert Attempt.objects.filter(outcome=SUCCEEDED, number=1).count() == 5000
        assert Attempt.objects.count() == 5000
        # More than one cluster has.
        assert len(set(Attempt.objects.values_list("worker", flat=True))) > 2


def final(result: Any) -> Task | None:
    """Return the Task of a result once it is finished, else None."""
    task: Task | None = Task.objects.filter(pk=result.id, finished_at__isnull=False).first()
    return task


def finished(result: Any, seconds: float = 30) -> Task:
    """Return the Task of a result as soon as it is finished."""
    return wait_for(lambda: final(result), seconds)


def outcomes(task: Task) -> list[str]:
    return list(task.attempts.values_list("outcome", flat=True))


def lateness(attempt: Attempt) -> float:
    """Return how many seconds after the moment it was due it started."""
    return (attempt.started_at - attempt.queued_at).total_seconds()


def first_note(directory: str) -> str:
    """Return the first note as soon as it is written."""
    return wait_for(lambda: "".join(tasks.noted(directory)[:1]))


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
