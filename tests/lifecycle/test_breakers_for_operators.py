"""Operators open and close breakers, and work on the Tasks behind them; workers race."""

from __future__ import annotations

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import breakers, lanes, pauses
from django_retrytasks.models import OpenBreaker, Status, Task
from tests.support.driver import Driver, in_another_session
from tests.support.outage import (
    NAME,
    attempts,
    behind,
    counts,
    enqueue,
    let_the_probe_come,
    own,
)
from tests.support.outage import new_worker as new_worker
from tests.support.outage import opened as opened

pytestmark = pytest.mark.django_db


class TestOperators:
    def test_they_open_and_close_it(self, driver: Driver) -> None:
        assert breakers.open_breaker(NAME, probe_every=60, by="ada", reason="it moves")
        assert not breakers.open_breaker(NAME, probe_every=60, by="bob", reason="again")
        enqueue(5)
        driver.run_due()
        assert len(behind()) == 5
        row = OpenBreaker.objects.get()
        assert (row.opened_by, row.reason) == ("ada", "it moves")

        assert breakers.close_breaker(NAME, by="ada")
        assert not breakers.close_breaker(NAME)
        driver.run_due()

        assert counts() == {"SUCCEEDED": 5}
        assert not OpenBreaker.objects.exists()

    def test_closing_what_nothing_waits_behind_deletes_it(self) -> None:
        breakers.open_breaker(NAME, probe_every=60)
        assert breakers.close_breaker(NAME)
        assert not OpenBreaker.objects.exists()

    def test_a_task_made_due_or_snoozed_still_waits(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        first, second = behind()[:2]
        assert lifecycle.run_now([first.pk]) == 1
        assert lifecycle.snooze([second.pk], 60) == 1

        driver.run_due()

        assert driver.row(first).is_behind_breaker
        assert not driver.row(second).is_parked
        assert attempts() == 3

    def test_a_failed_task_that_is_re_driven_waits(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        failed = driver.task_in(Status.FAILED)
        Task.objects.filter(pk=failed.pk).update(name=NAME, args=[])
        assert lifecycle.redrive([failed.pk]) == 1

        driver.run_due()

        assert driver.row(failed).is_behind_breaker

    def test_a_pause_that_ends_lets_nothing_through(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        pauses.pause(name=NAME)
        enqueue(1)
        driver.run_due()
        pauses.resume(name=NAME)
        driver.run_due()

        assert len(behind()) == 21
        assert attempts() == 3

    def test_a_breaker_that_closes_ends_no_pause(self, opened: OpenBreaker, driver: Driver) -> None:
        pauses.pause(name=NAME)
        breakers.close_breaker(NAME)
        for _ in range(3):
            driver.run_due()
        assert attempts() == 3

        pauses.resume(name=NAME)
        for _ in range(12):
            let_the_probe_come()
            driver.run_due()
        assert counts() == {"SUCCEEDED": 20}

    def test_a_row_deleted_by_hand_strands_no_task(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        opened.delete()
        lifecycle.sweep()
        driver.run_due()

        assert counts() == {"SUCCEEDED": 20}

    def test_a_claim_with_old_knowledge_parks_nothing_behind_a_closed_one(
        self, driver: Driver
    ) -> None:
        breakers.open_breaker(NAME, probe_every=60)
        known = lanes.paused_now()
        enqueue(3)
        breakers.close_breaker(NAME)
        Task.objects.filter(internal=True).delete()

        claim = lifecycle.claim(lanes.survey().due, limit=5, worker="host:1:one", paused=known)

        assert not behind()
        assert not claim.tasks
        assert len(driver.claim().tasks) == 3


@pytest.mark.django_db(transaction=True)
class TestRaces:
    def test_two_workers_let_one_probe_through(self, opened: OpenBreaker) -> None:
        let_the_probe_come()
        sessions = [in_another_session(breakers.let_due_probes_through) for _ in range(2)]
        for session in sessions:
            session.result()

        let = [task for task in own() if not task.is_parked]
        assert [task.pk for task in let] == [OpenBreaker.objects.get().probe]

    def test_two_workers_open_it_once(self, driver: Driver) -> None:
        opening = lambda: breakers.open_breaker(NAME, probe_every=60)  # noqa: E731
        sessions = [in_another_session(opening) for _ in range(2)]

        assert sorted(session.result() for session in sessions) == [False, True]
        assert OpenBreaker.objects.count() == 1
