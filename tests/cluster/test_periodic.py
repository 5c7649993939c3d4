"""Periodic Tasks on two real clusters, one of which is killed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from django_q.models import Schedule

from django_retrytasks import lifecycle
from django_retrytasks.models import PeriodicTask, Task
from django_retrytasks.values.entries import PERIODIC_ENTRY
from tests.cluster.conftest import LEASE
from tests.support.cluster import running_cluster, wait_for
from tests.support.declarations import declared, enqueued
from tests.support.rows import lateness

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("no_declarations"),
]


def test_each_moment_enqueues_one_task_on_time_though_a_cluster_is_killed(
    tmp_path: Path, tell: Callable[[str], None]
) -> None:
    declared(every=10)
    # Shorter than a declaration may be, so that many come in a short test.
    PeriodicTask.objects.update(every=1)
    # What stops django-q2's scheduler stops no periodic Task.
    due = timezone.now() - timedelta(minutes=1)
    Schedule.objects.create(name="broken", func="math.floor", args="1, (", next_run=due)
    lifecycle.sweep()
    lease = {"RETRYTASKS_LEASE": str(LEASE)}

    with running_cluster(tmp_path / "one.log", **lease):
        with running_cluster(tmp_path / "two.log", **lease) as other:
            wait_for(lambda: len(enqueued()) >= 6)
            other.kill()
        count = len(enqueued())
        wait_for(lambda: len(enqueued()) >= count + 4)
        PeriodicTask.objects.update(switched_off_at=timezone.now())
        now = timezone.now()
        wait_for(lambda: not Task.objects.unfinished().filter(run_after__lte=now).exists())

    ran = list(Task.objects.filter(name=PERIODIC_ENTRY).exclude(return_value=None))
    assert len({task.args[1] for task in ran}) == len(ran)
    ids = [task.return_value for task in ran]
    assert len(set(ids)) == len(ids)
    # The killed cluster may have enqueued one for each of its workers and not have settled it.
    assert set(ids) <= {str(task.pk) for task in enqueued()}
    assert len(enqueued()) - len(ids) <= 2
    late = sorted(lateness(task.attempts.get()) for task in ran if task.attempt_count == 1)
    tell(f"periodic Tasks, ms late: {[round(1000 * seconds) for seconds in late]}")
    assert late[0] >= 0
    assert late[len(late) // 2] < 1
