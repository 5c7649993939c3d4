"""A breaker opens after failures in a row, and Tasks wait behind it, uncharged."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_retrytasks.database import DatabaseNow
from django_retrytasks.lifecycle import breakers
from django_retrytasks.models import OpenBreaker, Status
from django_retrytasks.worker.batch import Batch
from django_retrytasks.worker.breaking import breaking
from tests.support import service, tasks
from tests.support.driver import Driver
from tests.support.outage import (
    BY_HOST,
    NAME,
    attempts,
    behind,
    counts,
    enqueue,
    own,
)
from tests.support.outage import new_worker as new_worker
from tests.support.outage import opened as opened
from tests.support.service import down

pytestmark = pytest.mark.django_db


class TestOpening:
    def test_it_opens_after_its_failures_in_a_row_and_nothing_more_is_tried(
        self, opened: OpenBreaker, driver: Driver
    ) -> None:
        with down():
            for _ in range(3):
                driver.run_due()

        assert (opened.name, opened.key, opened.state) == (NAME, "", "OPEN")
        assert opened.reason == "3 failures in a row: ConnectionError"
        assert attempts() == 3
        assert own().filter(retry_count=0).count() == 17
        assert len(behind()) == 20

    def test_a_success_ends_the_row(self, driver: Driver) -> None:
        for _ in range(4):
            with down():
                service.calls.using(max_retries=0).enqueue()
                service.calls.using(max_retries=0).enqueue()
                driver.run_due()
            enqueue(1)
            driver.run_due()

        assert not OpenBreaker.objects.exists()
        assert service.service.calls[""] == 12

    def test_another_failure_neither_counts_nor_ends_the_row(self, driver: Driver) -> None:
        for error in (None, None, ValueError("bad data"), ValueError("bad data")):
            with down(error=error):
                service.calls.using(max_retries=0).enqueue()
                driver.run_due()
        assert not OpenBreaker.objects.exists()

        with down():
            service.calls.using(max_retries=0).enqueue()
            driver.run_due()
        assert OpenBreaker.objects.get().reason.startswith("3 failures")

    def test_a_leaf_of_a_group_counts(self, driver: Driver) -> None:
        enqueue(5)
        with down(error=ExceptionGroup("both", [ValueError("a"), ConnectionError("b")])):
            for _ in range(3):
                driver.run_due()

        assert OpenBreaker.objects.exists()

    def test_a_retry_after_opens_it_at_once_until_then(self, driver: Driver) -> None:
        enqueue(5)
        with down(error=service.Overloaded(300)):
            for _ in range(3):
                driver.run_due()

        assert attempts() == 1
        row = OpenBreaker.objects.annotate(now=DatabaseNow()).get()
        assert 250 < (row.next_probe_at - row.now).total_seconds() <= 300
        assert row.reason.endswith("Retry-After 300 s")

    @pytest.mark.parametrize("asked", ["soon", float("nan"), 0, -5, None])
    def test_a_senseless_retry_after_opens_nothing(self, driver: Driver, asked: Any) -> None:
        with down(error=service.Overloaded(asked)):
            service.calls.using(max_retries=0).enqueue()
            driver.run_due()

        assert counts() == {"FAILED": 1}
        assert not OpenBreaker.objects.exists()

    def test_each_key_has_its_own(self, driver: Driver) -> None:
        service.calls_host.enqueue_many([(host,) for host in ("a", "b") * 10])
        with down("a"):
            for _ in range(5):
                driver.run_due()

        assert OpenBreaker.objects.get().breaker_key == (BY_HOST, "a")
        assert service.service.calls == {"a": 3, "b": 10}
        assert counts(breaker_key="b") == {"SUCCEEDED": 10}

    def test_keys_that_a_database_may_take_for_equal_are_told_apart(self, driver: Driver) -> None:
        hosts = ["host", "HOST", "hôst", "h" * 150, "h" * 151]
        service.calls_host.enqueue_many([(host,) for host in hosts for _ in range(4)])
        with down("host"), down("h" * 151):
            for _ in range(5):
                driver.run_due()

        assert OpenBreaker.objects.count() == 2
        assert counts() == {"SUCCEEDED": 12, "PENDING": 2, "RETRYING": 6}

    def test_counts_are_kept_for_a_bounded_number_of_keys(
        self, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("django_retrytasks.worker.breaking.MOST_KEYS", 10)
        hosts = [(f"host {n}",) for n in range(15)]
        service.calls_host.using(max_retries=0).enqueue_many(hosts)
        with down():
            driver.run_due()

        assert len(breaking._streaks) == 10

    def test_other_functions_go_on(self, opened: OpenBreaker, driver: Driver) -> None:
        other = service.calls_without_breaker.enqueue()
        driver.run_due()

        assert driver.row(other).status == Status.SUCCEEDED

    def test_a_batch_that_was_claimed_before_is_given_back_uncharged(self, driver: Driver) -> None:
        enqueue(5)
        echo = tasks.echoes.enqueue(1)
        claim = driver.claim()
        breakers.open_breaker(NAME, probe_every=60)

        Batch(claim).run()

        assert service.service.calls[""] == 0
        assert counts() == {"PENDING": 5, "SUCCEEDED": 1}
        assert driver.row(echo).status == Status.SUCCEEDED
        driver.run_due()
        assert len(behind()) == 5
        assert not own().exclude(pk=echo.id).filter(attempt_count__gt=0).exists()

    def test_it_costs_no_statement_while_it_is_closed(self, driver: Driver) -> None:
        def statements(task: Any) -> int:
            counted = []
            for _ in range(3):  # one of them may also look after the sweep
                task.enqueue()
                with CaptureQueriesContext(connection) as queries:
                    driver.run_due()
                counted.append(len(queries))
            return min(counted)

        assert statements(service.calls) == statements(service.calls_without_breaker)
