"""What goes wrong in foreign code must cost no more than its own attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, connections
from django.test import override_settings

from django_retrytasks.alerts import announcements, sending
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.worker import batch, pace
from tests.support import tasks, trouble
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)
Outcome = Attempt.Outcome


@pytest.mark.parametrize("reason", ["lone surrogate \ud800", "NUL \0", "long " * 100])
def test_a_reason_that_no_database_takes_is_stored_escaped(driver: Driver, reason: str) -> None:
    result = trouble.discards_with.enqueue(reason)

    neighbours = driver.run_beside_neighbours(result)

    assert neighbours == [Status.SUCCEEDED] * 2
    assert driver.row(result).status == Status.DISCARDED
    assert driver.attempts(result)[0].decision.startswith(f"discarded: {reason[:4]}")


@pytest.mark.parametrize(
    "task", [trouble.discards_wrongly, trouble.snoozes_wrongly, trouble.raises_unshowable]
)
def test_an_exception_that_is_itself_broken_is_a_failed_attempt(driver: Driver, task: Any) -> None:
    result = task.enqueue()

    neighbours = driver.run_beside_neighbours(result)

    assert neighbours == [Status.SUCCEEDED] * 2
    assert [one.outcome for one in driver.attempts(result)] == [Outcome.FAILED]
    assert driver.row(result).status == Status.FAILED


@pytest.fixture
def refusing_database() -> Iterator[None]:
    """Have the database refuse the Attempt of a Task that was discarded as "refused"."""
    where = "decision = 'discarded: refused'"
    if connection.vendor == "sqlite":
        set_up = (
            f"CREATE TRIGGER refusing BEFORE INSERT ON retrytasks_attempt WHEN NEW.{where} "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
        undo = "DROP TRIGGER refusing"
    else:
        table = "ALTER TABLE retrytasks_attempt"
        set_up = f"{table} ADD CONSTRAINT refusing CHECK (NOT {where})"
        undo = f"{table} DROP CONSTRAINT refusing"
    with connection.cursor() as cursor:
        cursor.execute(set_up)
    yield
    with connection.cursor() as cursor:
        cursor.execute(undo)


@pytest.mark.usefixtures("refusing_database")
def test_an_outcome_that_the_database_refuses_does_not_take_its_neighbours_with_it(
    driver: Driver, caplog: pytest.LogCaptureFixture
) -> None:
    result = trouble.discards_with.enqueue("refused")

    neighbours = driver.run_beside_neighbours(result)

    assert neighbours == [Status.SUCCEEDED] * 2
    row = driver.row(result)
    assert (row.status, row.stop_reason) == (Status.FAILED, StopReason.NOT_STORABLE)
    assert "its outcome cannot be stored" in caplog.text


def test_a_module_that_exits_when_imported_costs_no_worker(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "retrytasks_exits.py").write_text("raise SystemExit('SETTING missing')")
    monkeypatch.syspath_prepend(tmp_path)
    result = tasks.echoes.using(max_retries=0).enqueue(1)
    Task.objects.update(name="retrytasks_exits.task", given_back_count=batch.GIVE_BACKS)

    driver.run_due()

    assert driver.row(result).stop_reason == StopReason.NOT_IMPORTABLE


@pytest.mark.parametrize("task", [trouble.leaves_a_generator_open, trouble.leaves_atomic_open])
def test_a_transaction_left_open_does_not_swallow_the_outcome(driver: Driver, task: Any) -> None:
    result = task.enqueue()

    driver.run_due()

    assert not connection.in_atomic_block
    connections.close_all()
    assert driver.row(result).attempt_count == 1
    assert driver.row(result).status in (Status.FAILED, Status.SUCCEEDED)


def test_outcomes_do_not_wait_for_a_batch_that_takes_longer_than_thought(driver: Driver) -> None:
    for _ in range(40):
        pace.pace.note(0.0001)
    results = trouble.tells_how_many_are_settled.enqueue_many([(0.6,)] * 6)

    driver.drain()

    settled_before_the_last = max(driver.row(result).return_value for result in results)
    assert settled_before_the_last >= 3
    assert [driver.row(result).attempt_count for result in results] == [1] * 6


def test_an_inline_task_may_run_longer_than_the_lease() -> None:
    tasks_setting = {
        "default": {"BACKEND": "django_retrytasks.testing.ImmediateBackend", "QUEUES": []}
    }
    with override_settings(RETRYTASKS={"LEASE": 0.2}, TASKS=tasks_setting):
        result = tasks.sleeps.using(timeout=5).enqueue(0.5)

    assert Task.objects.get(pk=result.id).status == Status.SUCCEEDED


def test_a_site_policy_does_not_quiet_announcements() -> None:
    site = {"retry_for": 1, "retry_on": (KeyError,), "max_crashes": 1, "jitter": False}

    with override_settings(RETRYTASKS={"POLICY": site}):
        policies = [
            task.policy
            for task in (
                announcements.announce_failures,
                announcements.call_on_failure,
                announcements.call_receiver,
                sending.send_alert,
            )
        ]

    assert [policy.max_retries for policy in policies] == [20] * 4
    assert [policy.max_crashes for policy in policies] == [20] * 4
    assert [policy.retry_on for policy in policies] == [(Exception,)] * 4
    assert [policy.retry_for for policy in policies] == [None] * 4


def test_a_heartbeat_of_its_own_notes_that_the_task_has_started(driver: Driver) -> None:
    results = trouble.beats.enqueue_many([()] * 2)
    for _ in range(40):
        pace.pace.note(0.0001)

    driver.run_due()

    assert [driver.row(result).return_value for result in results] == [[True, True]] * 2


def test_a_task_given_back_has_the_starts_it_had_before(driver: Driver) -> None:
    result = tasks.always_fails.enqueue()
    driver.attempt(result)
    before = driver.row(result)
    Task.objects.update(name="tests.gone.task")

    given_back = driver.attempt(result)

    assert given_back.given_back_count == 1
    assert given_back.started_at == before.started_at
    assert given_back.last_attempted_at == before.last_attempted_at
