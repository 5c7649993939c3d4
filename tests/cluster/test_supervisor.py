"""A cluster that is kept running: started again when it ends, replaced when it freezes."""

from __future__ import annotations

import random
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django_q.models import OrmQ

from django_retrytasks import health
from django_retrytasks.management.supervisor import Held, Look, Progress
from django_retrytasks.models import Attempt, Task
from tests.support import tasks
from tests.support.cluster import Cluster, running_cluster, starting_cluster, wait_for
from tests.support.processes import send

MAX_STALL = 5.0
SUPERVISOR = ("--max-stall", f"{MAX_STALL:g}")
# Ending a cluster and starting the next, with its Python to load, on a busy machine.
RESTART = 8.0
LEASE = 5


def look(lag: float, *claims: Held, is_writable: bool = True) -> Look:
    return Look(lag=lag, claims=frozenset(claims), is_writable=is_writable)


class TestProgress:
    ONE, TWO, THREE = ((pid, uuid.uuid4()) for pid in (11, 12, 11))

    @pytest.fixture
    def progress(self) -> Progress:
        return Progress(workers=2, max_stall=10, lease=30, now=100)

    def test_due_tasks_that_nobody_claims_are_a_freeze_after_max_stall(
        self, progress: Progress
    ) -> None:
        frozen = {}
        for seconds in (1, 5, 10, 11):
            progress.note(look(seconds), 100 + seconds)
            frozen[seconds] = progress.is_frozen(look(seconds), 100 + seconds)

        assert frozen == {1: False, 5: False, 10: False, 11: True}

    def test_old_backlog_is_no_freeze_of_a_cluster_just_started(self, progress: Progress) -> None:
        progress.note(look(3600), 102)

        assert not progress.is_frozen(look(3600), 102)
        assert progress.is_frozen(look(3610), 111)

    def test_cluster_that_is_idle_for_want_of_work_is_not_frozen(self, progress: Progress) -> None:
        progress.note(look(0), 500)

        assert not progress.is_frozen(look(0), 500)

    def test_new_claims_are_progress_whatever_the_backlog(self, progress: Progress) -> None:
        progress.note(look(3600, self.ONE), 109)
        progress.note(look(3600, self.THREE), 118)

        assert not progress.is_frozen(look(3600), 127)
        assert progress.is_frozen(look(3600), 129)

    def test_cluster_whose_workers_are_all_busy_is_not_frozen(self, progress: Progress) -> None:
        for now in (105, 115, 125):
            progress.note(look(now - 100, self.ONE, self.TWO), now)

        assert not progress.is_frozen(look(25, self.ONE, self.TWO), 125)

    def test_cluster_with_one_long_task_and_an_idle_worker_is_frozen(
        self, progress: Progress
    ) -> None:
        for now in (101, 105, 112):
            progress.note(look(now - 100, self.ONE), now)

        assert progress.is_frozen(look(12, self.ONE), 112)

    def test_other_clusters_that_keep_the_lag_short_excuse_an_idle_one(
        self, progress: Progress
    ) -> None:
        progress.note(look(2), 150)

        assert not progress.is_frozen(look(2), 150)

    def test_time_while_the_database_is_away_does_not_count(self, progress: Progress) -> None:
        progress.note(None, 150)
        progress.note(look(60), 155)

        assert not progress.is_frozen(None, 150)
        assert not progress.is_frozen(look(60), 155)
        assert progress.is_frozen(look(66), 161)

    def test_time_while_the_database_refuses_writes_does_not_count(
        self, progress: Progress
    ) -> None:
        frozen = {}
        for now in range(101, 141):
            seen = look(now - 100, is_writable=not 105 <= now < 125)
            progress.note(seen, now)
            frozen[now] = progress.is_frozen(seen, now)

        assert [now for now in frozen if frozen[now]] == [136, 137, 138, 139, 140]

    def test_refusal_for_over_a_lease_is_no_excuse_as_no_outcome_can_be_settled_then(
        self, progress: Progress
    ) -> None:
        frozen = {}
        for now in range(101, 145):
            seen = look(now - 100, is_writable=False)
            progress.note(seen, now)
            frozen[now] = progress.is_frozen(seen, now)

        assert min(now for now in frozen if frozen[now]) == 141

    def test_wakeups_are_written_once_when_half_the_time_is_over(self, progress: Progress) -> None:
        woken = [now for now in (101, 104, 106, 108) if progress.needs_wakeups(now)]

        progress.note(look(0), 109)
        woken += [now for now in (110, 115, 116) if progress.needs_wakeups(now)]

        assert woken == [106, 115]


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--max-stall", "1"], "'1' is no duration: give seconds, 5 or more"),
            (["--grace", "-2"], "'-2' is no duration: give seconds, 0 or more"),
            (["--name", "fast"], r"invalid choice: '?fast'? \(choose from .*slow"),
        ],
    )
    def test_wrong_one_is_refused_with_what_would_be_right(
        self, options: list[str], message: str
    ) -> None:
        with pytest.raises(CommandError, match=message):
            call_command("retrytasks", "cluster", *options, stdout=StringIO())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def supervised(transactional_db: None, log: Path) -> Iterator[Cluster]:
    """A supervised cluster that is at work."""
    with running_cluster(log, SUPERVISOR, RETRYTASKS_LEASE=str(LEASE)) as cluster:
        wait_for(lambda: len(cluster.having("worker")) == 2)
        yield cluster


@pytest.mark.cluster
@pytest.mark.skipif(
    connection.vendor != "sqlite", reason="takes a minute and is the same everywhere: run on SQLite"
)
class TestCluster:
    def test_stops_gracefully_when_its_supervisor_is_told_to(
        self, supervised: Cluster, noted_in: str
    ) -> None:
        result = tasks.sleeps_noting.enqueue(noted_in, 2)
        wait_for(lambda: tasks.noted(noted_in))

        send(signal.SIGTERM, supervised.process.pid)

        assert supervised.process.wait(20) == 0
        assert supervised.left() == []
        assert outcomes_at_last(result.id) == ["SUCCEEDED"]
        assert tasks.noted(noted_in) == ["start", "end"]

    def test_all_of_it_frozen_is_replaced_and_its_processes_ended(
        self, supervised: Cluster
    ) -> None:
        frozen = [
            pid for part in ("worker", "pusher", "monitor") for pid in supervised.having(part)
        ]
        send(signal.SIGSTOP, *frozen)

        seconds = probe(supervised)

        assert MAX_STALL < seconds < MAX_STALL + RESTART
        assert len(frozen) == 4
        assert not set(frozen) & set(supervised.left())

    def test_kills_of_idle_workers_never_stop_the_work_for_long(
        self, supervised: Cluster, tell: Callable[[str], None]
    ) -> None:
        chance, waits = random.Random(7), []
        for _ in range(6):
            wait_for(lambda: len(supervised.having("worker")) == 2)
            send(signal.SIGKILL, chance.choice(supervised.having("worker")))
            waits.append(probe(supervised))

        tell(f"idle workers killed, s to the next Task's end: {[round(wait, 1) for wait in waits]}")
        assert max(waits) < MAX_STALL + RESTART

    @pytest.mark.parametrize("part", ["sentinel", "main"])
    def test_whose_head_is_killed_is_started_again_and_its_orphans_ended(
        self, supervised: Cluster, part: str
    ) -> None:
        before = set(supervised.left()) - {supervised.process.pid}
        pid = getattr(supervised, part)
        assert len(before) == 6

        send(signal.SIGKILL, pid)

        wait_for(lambda: not before & set(supervised.left()), RESTART)
        assert probe(supervised) < RESTART

    def test_whose_workers_are_all_busy_for_long_is_left_alone(
        self, supervised: Cluster, noted_in: str
    ) -> None:
        main = supervised.main
        for _ in range(2):
            tasks.sleeps_noting.enqueue(noted_in, MAX_STALL + 3)
        wait_for(lambda: tasks.noted(noted_in) == ["start"] * 2)
        waiting = tasks.succeeds.enqueue()

        wait_for(lambda: outcomes_at_last(waiting.id), MAX_STALL + 10)

        assert supervised.main == main
        assert set(Attempt.objects.values_list("outcome", flat=True)) == {"SUCCEEDED"}

    def test_is_woken_in_time_when_its_wake_ups_are_purged(self, supervised: Cluster) -> None:
        main = supervised.main
        with transaction.atomic():
            result = tasks.succeeds.enqueue()
            OrmQ.objects.all().delete()

        wait_for(lambda: outcomes_at_last(result.id), MAX_STALL)

        assert supervised.main == main


@pytest.mark.cluster
@pytest.mark.usefixtures("transactional_db")
class TestClusterOfAnotherQueue:
    def test_is_run_by_its_name_and_watched_for_its_own_tasks(self, log: Path) -> None:
        tasks.succeeds.enqueue()
        with running_cluster(log, ("--name", "slow", *SUPERVISOR)) as cluster:
            main = cluster.main
            result = tasks.tells_cluster.using(queue_name="slow").enqueue()

            wait_for(lambda: outcomes_at_last(result.id) == ["SUCCEEDED"])

            wait_for(lambda: health.check().lag > MAX_STALL + 1)
            assert cluster.main == main
        assert Task.objects.get(pk=result.id).return_value == "slow"


@pytest.mark.cluster
class TestClusterThatCannotStart:
    def test_is_tried_again_ever_later_until_told_to_stop(self, log: Path) -> None:
        nowhere = "postgres://nobody@127.0.0.1:1/nothing"
        with starting_cluster(log, (), DATABASE_URL=nowhere) as cluster:
            wait_for(lambda: len(pauses(log)) >= 3, 60)
            began = time.monotonic()

            send(signal.SIGTERM, cluster.process.pid)

            assert cluster.process.wait(10) == 0
            assert time.monotonic() - began < 3
        assert pauses(log)[:3] == [1, 2, 4]
        assert log.read_text().count("Cluster cannot be watched") == 1


def probe(supervised: Cluster) -> float:
    """Enqueue a Task; return the seconds until it has run."""
    began = time.monotonic()
    result = tasks.succeeds.enqueue()
    try:
        wait_for(lambda: outcomes_at_last(result.id) == ["SUCCEEDED"], 60)
    except AssertionError:
        raise AssertionError(supervised.log.read_text()) from None
    return time.monotonic() - began


def outcomes_at_last(pk: str) -> list[str]:
    """Return how the Task's attempts ended, once it is finished."""
    task = Task.objects.get(pk=pk)
    return list(task.attempts.values_list("outcome", flat=True)) if task.is_finished else []


def pauses(log: Path) -> list[float]:
    """Return the seconds to the next start, as logged."""
    return [float(seconds) for seconds in re.findall(r"started again in (\S+) s", log.read_text())]
