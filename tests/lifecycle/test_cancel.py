"""What an operator's cancel leaves of a run: its Attempt, where it is known to have begun."""

from __future__ import annotations

import logging

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
    assert attempt.worker == "host:7:one"
    assert attempt.decision == "cancelled; its end is not known yet"
    assert attempt.started_at == task.claimed_at
    assert attempt.finished_at >= attempt.started_at
    assert driver.row(result).attempt_count == 1
    assert lifecycle.settle([driver.ending(task)]) == []
    assert len(driver.attempts(result)) == 1


@pytest.mark.parametrize(
    ("about", "note"),
    [
        ({}, "cancelled"),
        ({"by": "anna"}, "cancelled by anna"),
        ({"reason": "wrong file"}, "cancelled: wrong file"),
        ({"by": "anna", "reason": "wrong\n  file"}, "cancelled by anna: wrong file"),
        ({"by": "%(task_id)s", "reason": "50 %"}, "cancelled by %(task_id)s: 50 %"),
    ],
)
def test_the_rows_and_the_log_say_who_cancelled_and_why(
    driver: Driver, caplog: pytest.LogCaptureFixture, about: dict[str, str], note: str
) -> None:
    begun, waiting = tasks.echoes.enqueue_many([(1,), (2,)])
    [task] = driver.claim(limit=1).tasks
    ids = [driver.row(result).pk for result in (begun, waiting)]

    with caplog.at_level(logging.INFO, "django_retrytasks"):
        lifecycle.cancel(ids, **about)

    rows = [driver.row(result) for result in (begun, waiting)]
    assert [(row.stop_reason, row.stop_note) for row in rows] == [("CANCELLED", note)] * 2
    [attempt] = Attempt.objects.filter(task=task)
    assert attempt.decision == f"{note}; its end is not known yet"
    lines = [r.getMessage() for r in caplog.records if "cancelled: id=" in r.getMessage()]
    assert [line.partition(" decision=")[2] for line in lines] == [note] * 2


def test_a_long_reason_is_cut(driver: Driver) -> None:
    result = tasks.echoes.enqueue(1)
    driver.claim(limit=1)

    lifecycle.cancel([driver.row(result).pk], by="anna", reason="é" * 1000)

    [attempt] = driver.attempts(result)
    assert attempt.decision.endswith("; its end is not known yet")
    note = driver.row(result).stop_note
    assert note.startswith("cancelled by anna: éé")
    assert note.splitlines() == [note]


def test_one_that_waits_or_may_not_have_begun_leaves_none(driver: Driver) -> None:
    results = tasks.echoes.enqueue_many([(1,), (2,), (3,)])
    claimed = driver.claim(limit=2).tasks
    pks = [Task.objects.get(pk=result.id).pk for result in results]

    assert len(claimed) == 2
    assert lifecycle.cancel(pks) == 3

    assert not Attempt.objects.exists()
    assert set(Task.objects.values_list("attempt_count", flat=True)) == {0}
