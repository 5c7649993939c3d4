"""What an operator's cancel leaves of a run: its Attempt, where it is known to have begun."""

from __future__ import annotations

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.models import Attempt, Task
from tests.support import tasks
from tests.support.driver import Driver, Outcome

pytestmark = pytest.mark.django_db


def test_a_run_that_is_known_to_have_begun_leaves_an_attempt(driver: Driver) -> None:
    result = tasks.echoes.enqueue(1)
    [task] = driver.claim(limit=1, by="host:7:one").tasks

    assert lifecycle.cancel([task.pk]) == 1

    [attempt] = driver.attempts(result)
    assert (attempt.number, attempt.outcome) == (1, Outcome.CANCELLED)
    assert (attempt.worker, attempt.decision) == ("host:7:one", "cancelled")
    assert attempt.started_at == task.claimed_at
    assert attempt.finished_at >= attempt.started_at
    assert driver.row(result).attempt_count == 1
    assert lifecycle.settle([driver.ending(task)]) == []
    assert len(driver.attempts(result)) == 1


def test_one_that_waits_or_may_not_have_begun_leaves_none(driver: Driver) -> None:
    results = tasks.echoes.enqueue_many([(1,), (2,), (3,)])
    claimed = driver.claim(limit=2).tasks
    pks = [Task.objects.get(pk=result.id).pk for result in results]

    assert len(claimed) == 2
    assert lifecycle.cancel(pks) == 3

    assert not Attempt.objects.exists()
    assert set(Task.objects.values_list("attempt_count", flat=True)) == {0}
