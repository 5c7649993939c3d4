"""A probe closes a breaker or keeps it open; its Task and the others behind it lose nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import OpenBreaker, Status, Task
from django_retrytasks.worker.batch import Batch
from tests.support import service
from tests.support.driver import Driver
from tests.support.happenings import end_leases
from tests.support.outage import (
    NAME,
    PLAIN,
    attempts,
    behind,
    counts,
    enqueue,
    let_a_probe_through,
    let_the_probe_come,
    own,
    the_probe,
)
from tests.support.outage import new_worker as new_worker
from tests.support.outage import opened as opened
from tests.support.service import down

pytestmark = pytest.mark.django_db


class TestProbe:
    def test_its_success_closes_the_breaker_and_the_rest_go(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        let_the_probe_come()
        for _ in range(10):
            driver.run_due()

        assert counts() == {"SUCCEEDED": 20}
        assert not OpenBreaker.objects.exists()
        assert attempts() == 3 + 20

    def test_the_rest_come_in_a_growing_stream(self, opened: OpenBreaker, driver: Driver) -> None:
        let_a_probe_through()
        claimed = []
        while (claim := driver.claim()).tasks:
            Batch(claim).run()
            claimed += [len(claim.tasks)] * (not claim.tasks[0].internal)

        assert claimed == [1, 2, 4, 8, 5]
        assert not OpenBreaker.objects.exists()

    def test_its_failure_keeps_the_breaker_open_and_spends_no_retry(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        with down():
            for number in range(1, 6):
                let_the_probe_come()
                for _ in range(3):
                    driver.run_due()
                assert attempts() == 3 + number

        row = OpenBreaker.objects.get()
        assert (row.state, row.failed_probe_count, row.probe) == ("OPEN", 5, None)
        assert sum(own().values_list("retry_count", flat=True)) == opened.failed_probe_count + 3
        assert counts().keys() <= {"PENDING", "RETRYING"}

    def test_one_task_alone_outlasts_any_number_of_probes(self, driver: Driver) -> None:
        breakers.open_breaker(NAME, probe_every=60)
        [result] = enqueue(1)
        with down():
            for _ in range(6):
                let_the_probe_come()
                driver.attempt(result)
                driver.run_due()
        assert driver.row(result).attempt_count == 6
        assert driver.row(result).retry_count == 0

        let_the_probe_come()
        driver.attempt(result)
        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED
        assert [a.decision.partition(":")[0] for a in driver.attempts(result)] == [
            *["probe of an open breaker"] * 6,
            "succeeded",
        ]

    def test_a_failure_that_is_not_retried_ends_its_task(self, driver: Driver) -> None:
        breakers.open_breaker("tests.support.service.gives_up", probe_every=60)
        result = service.gives_up.enqueue()
        let_the_probe_come()
        with down():
            driver.run_due()
            driver.run_due()

        assert driver.row(result).status == Status.FAILED
        assert OpenBreaker.objects.get().failed_probe_count == 1

    def test_another_failure_lets_the_next_one_through_at_once(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        let_the_probe_come()
        with down(error=ValueError("bad data")):
            driver.run_due()

        row = OpenBreaker.objects.get()
        assert (row.state, row.failed_probe_count) == ("OPEN", 0)
        assert attempts() > 4

    def test_its_crash_is_its_failure(self, opened: OpenBreaker, driver: Driver) -> None:
        probe = let_a_probe_through()
        assert [task.pk for task in driver.claim().tasks] == [probe.pk]
        let_the_probe_come()
        breakers.let_due_probes_through()
        assert OpenBreaker.objects.get().probe == probe.pk
        end_leases()

        driver.run_due()

        row = OpenBreaker.objects.annotate(now=DatabaseNow()).get()
        assert (row.failed_probe_count, row.state) == (1, "OPEN")
        assert (row.next_probe_at - row.now).total_seconds() > 30
        assert driver.attempts(probe)[-1].outcome == "LOST"
        assert driver.row(probe).crash_count == 1

    @pytest.mark.parametrize("end", [lifecycle.discard, lifecycle.cancel, "delete"])
    def test_without_it_another_one_comes(
        self, opened: OpenBreaker, driver: Driver, end: Any
    ) -> None:
        probe = let_a_probe_through()
        if end == "delete":
            Task.objects.filter(pk=probe.pk).delete()
        else:
            assert end([probe.pk]) == 1

        let_the_probe_come()
        for _ in range(5):
            driver.run_due()

        assert counts().get("SUCCEEDED") == 19

    def test_a_cancelled_run_of_it_decides_nothing(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        let_a_probe_through()
        claim = driver.claim()
        lifecycle.cancel([task.pk for task in claim.tasks])

        Batch(claim).run()

        assert OpenBreaker.objects.get().is_open
        assert let_a_probe_through().pk != claim.tasks[0].pk

    def test_without_a_waiting_task_the_next_one_is_the_probe(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        lifecycle.discard([task.pk for task in behind()])
        let_the_probe_come()
        driver.run_due()

        [result] = enqueue(1)
        driver.run_due()

        assert driver.row(result).status == Status.SUCCEEDED
        assert not OpenBreaker.objects.exists()

    def test_a_slow_one_is_not_joined_by_another(self, opened: OpenBreaker, driver: Driver) -> None:
        probe = let_a_probe_through()
        driver.claim()
        let_the_probe_come()

        driver.run_due()

        assert OpenBreaker.objects.get().probe == probe.pk
        assert len(behind()) == 19

    def test_a_wake_up_waits_for_the_next_one(self, driver: Driver) -> None:
        service.calls.using(max_retries=0).enqueue_many([()] * 3)
        with down():
            driver.run_due()
        OrmQ.objects.filter(lock__lte=DatabaseNow() + timedelta(seconds=30)).delete()

        assert OrmQ.objects.filter(lock__lte=DatabaseNow() + timedelta(seconds=61)).exists()

    def test_the_sweep_lets_it_through(self, opened: OpenBreaker) -> None:
        OrmQ.objects.all().delete()
        let_the_probe_come()

        lifecycle.sweep()

        probe = the_probe()
        assert not probe.is_parked
        assert OrmQ.objects.exists()

    def test_it_closes_the_breaker_of_a_function_that_has_none_any_more(
        self, driver: Driver
    ) -> None:
        breakers.open_breaker(PLAIN, probe_every=60)
        service.calls_without_breaker.enqueue_many([()] * 5)
        driver.run_due()
        assert len(behind()) == 5

        let_the_probe_come()
        for _ in range(3):
            driver.run_due()

        assert counts() == {"SUCCEEDED": 5}
        assert not OpenBreaker.objects.exists()

    def test_failures_in_a_row_open_a_closing_one_again(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        breakers.close_breaker(NAME)
        with down():
            driver.run_due()
            driver.run_due()
            let_the_probe_come()
            driver.run_due()

        row = OpenBreaker.objects.get()
        assert row.state == "OPEN"
        assert row.opened_at == opened.opened_at
        assert row.pk == opened.pk
        assert attempts() <= 3 + 3 + 2

    def test_a_stream_without_a_success_begins_anew(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        breakers.close_breaker(NAME)
        lifecycle.discard([task.pk for task in own() if not task.is_behind_breaker])
        let_the_probe_come()

        for _ in range(5):
            driver.run_due()

        assert counts() == {"SUCCEEDED": 18, "DISCARDED": 2}
        assert not OpenBreaker.objects.exists()


class TestTime:
    def test_behind_a_breaker_does_not_count_into_retry_for(self, driver: Driver) -> None:
        result = service.calls.using(retry_for=600, max_retries=9).enqueue()
        with down():
            driver.run_due()
        assert driver.row(result).retry_count == 3
        hours = timedelta(hours=5)
        past = DatabaseNow() - hours
        Task.objects.update(queued_at=past, started_at=past)
        OpenBreaker.objects.update(opened_at=past)

        let_a_probe_through()
        breakers.close_breaker(NAME)
        with down():
            driver.run_due()

        row = driver.row(result)
        assert row.status == Status.RETRYING
        assert row.started_at is not None
        assert (lifecycle_now() - row.started_at).total_seconds() < 60


def lifecycle_now() -> Any:
    return Task.objects.values_list(DatabaseNow(), flat=True)[0]
