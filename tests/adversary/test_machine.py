"""The verbs under random interleavings: workers, operators, crashes and clocks in any order."""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as options
from hypothesis.stateful import run_state_machine_as_test

from django_retrytasks import lifecycle
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.happenings import move_time
from tests.support.invariants import violations
from tests.support.machine import Machine

EXAMPLES = int(os.environ.get("RETRYTASKS_MACHINE_EXAMPLES", "20"))


@pytest.mark.timeout(600 + EXAMPLES)
@pytest.mark.django_db(transaction=True)
def test_the_invariants_hold_whatever_happens_in_whatever_order(settings: Any) -> None:
    settings.RETRYTASKS = {"ALERTS": ()}

    run_state_machine_as_test(
        Machine,
        settings=options(
            max_examples=EXAMPLES,
            stateful_step_count=50,
            deadline=None,
            # The same traces on every database and in every run.
            derandomize=True,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.django_db
def test_a_lost_attempt_is_not_forgotten_when_its_finder_gives_it_back(driver: Driver) -> None:
    task = driver.row(tasks.echoes.enqueue(1))
    driver.claim()
    driver.make_due(task)

    lifecycle.release(driver.claim().tasks)
    driver.drain()

    assert [attempt.outcome for attempt in driver.attempts(task)] == ["LOST", "SUCCEEDED"]
    assert violations() == []


@pytest.mark.django_db
def test_a_clock_set_back_makes_no_start_of_an_earlier_one(driver: Driver) -> None:
    retried, other = tasks.always_fails.enqueue(), tasks.always_fails.enqueue()
    driver.run_due()
    move_time(-3600, of_hosts=False)
    driver.make_due(retried, other)
    driver.make_due(*driver.claim(limit=2).tasks)

    driver.run_due()

    outcomes = [attempt.outcome for attempt in driver.attempts(retried)]
    assert "LOST" not in outcomes
    assert driver.row(retried).suspect
    assert violations() == []
