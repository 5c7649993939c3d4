"""A server goes down under a real cluster: with a breaker hardly an attempt is spent on it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from django.db.models import QuerySet

from django_retrytasks.models import Attempt, OpenBreaker, Status, Task
from tests.support import service
from tests.support.cluster import sweep_until, wait_for
from tests.support.rows import final, outcomes

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("cluster"),
]
WORKERS = 2
FAILURES = 3


def own() -> QuerySet[Attempt]:
    return Attempt.objects.filter(task__internal=False)


class TestOutage:
    def test_few_attempts_are_spent_and_all_tasks_succeed_once_it_is_back(
        self, tmp_path: Path
    ) -> None:
        down = tmp_path / "down"
        down.touch()
        began = time.monotonic()
        service.posts.enqueue_many([(str(down),)] * 300)
        wait_for(OpenBreaker.objects.exists)
        wait_for(lambda: OpenBreaker.objects.get().failed_probe_count >= 2)
        probes = OpenBreaker.objects.get().failed_probe_count + 1
        assert Task.objects.filter(internal=False).exclude(status=Status.SUCCEEDED).count() == 300

        down.unlink()
        back = time.monotonic()
        sweep_until(lambda: not Task.objects.unfinished().exists(), 60)

        assert set(Task.objects.filter(internal=False).values_list("status")) == {("SUCCEEDED",)}
        failed = own().filter(outcome="FAILED").count()
        assert failed <= WORKERS * FAILURES + probes
        assert own().count() == 300 + failed
        assert not OpenBreaker.objects.exists()
        assert back - began > 1

    def test_without_a_breaker_nearly_all_fail_for_good(self, tmp_path: Path) -> None:
        down = tmp_path / "down"
        down.touch()
        service.posts_without_breaker.enqueue_many([(str(down),)] * 60)

        sweep_until(lambda: not Task.objects.unfinished().exists(), 60)

        assert set(Task.objects.filter(internal=False).values_list("status")) == {("FAILED",)}
        assert own().count() == 60 * 3

    def test_a_killed_worker_of_the_probe_leaves_no_breaker_open(self, tmp_path: Path) -> None:
        down, hang = tmp_path / "down", tmp_path / "hang"
        down.touch()
        results = service.posts.enqueue_many([(str(down), str(hang))] * 20)
        wait_for(OpenBreaker.objects.exists)
        # What was claimed before it opened ends first: from now on only probes run.
        wait_for(lambda: not own().filter(task__status=Status.RUNNING).exists())
        hang.touch()
        down.unlink()
        pid = int(wait_for(hang.read_text))

        os.kill(pid, signal.SIGKILL)
        hang.unlink()

        sweep_until(lambda: all(final(result) for result in results), 60)
        assert {final(result).status for result in results} == {"SUCCEEDED"}  # type: ignore[union-attr]
        lost = [task for result in results if (task := final(result)) and "LOST" in outcomes(task)]
        assert len(lost) == 1
        assert not OpenBreaker.objects.exists()
