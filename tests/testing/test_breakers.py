"""The test kit drives breakers: failures in a row open one, and a probe closes it."""

from __future__ import annotations

import pytest
from django_q.models import OrmQ

from django_retrytasks.models import OpenBreaker, Status, Task
from django_retrytasks.testing import (
    NotDrained,
    advance,
    assert_attempts,
    drain,
    step,
    timeline,
)
from tests.support import service
from tests.support.outage import NAME, attempts, behind, counts, enqueue
from tests.support.outage import new_worker as new_worker
from tests.support.service import down

pytestmark = pytest.mark.django_db


def test_failures_in_a_row_open_it_and_the_others_wait_uncharged() -> None:
    enqueue(20)
    wakes = OrmQ.objects.count()

    with down():
        drain()

    assert OpenBreaker.objects.get().reason == "3 failures in a row: ConnectionError"
    assert (attempts(), len(behind())) == (3, 20)
    assert OrmQ.objects.count() <= wakes


def test_so_do_single_steps() -> None:
    enqueue(5)

    with down():
        for _ in range(3):
            assert step() is not None
        assert step() is None

    assert OpenBreaker.objects.get().is_open


def test_it_closes_once_a_probe_succeeds_and_all_run() -> None:
    results = enqueue(20)
    with down():
        drain(until=150)
    assert OpenBreaker.objects.get().failed_probe_count == 2

    drain(until=lambda: not Task.objects.unfinished().filter(name=NAME).exists())

    assert counts() == {Status.SUCCEEDED: 20}
    assert not OpenBreaker.objects.exists()
    assert_attempts(results[19], ["SUCCEEDED"])


def test_time_passes_to_the_next_probe() -> None:
    enqueue(5)
    with down():
        drain()

    assert advance() == pytest.approx(60, abs=2)
    assert step() is not None


def test_a_task_behind_one_is_drained_to_its_end() -> None:
    enqueue(4)
    with down():
        drain()
    last = enqueue(1)[0]

    drain(until=last)

    assert_attempts(last, ["SUCCEEDED"])


def test_a_service_that_stays_down_ends_the_drain() -> None:
    result = enqueue(4)[3]

    with down(), pytest.raises(NotDrained, match="still due after 20 attempts"):
        drain(until=result, limit=20)


def test_the_timeline_names_the_breaker() -> None:
    result = service.calls_host.enqueue_many([("a",)] * 4)[3]
    with down():
        drain()

    head = timeline(result).partition("\n")[0]

    assert "behind the breaker of tests.support.service.calls_host (a), next probe in " in head
    OpenBreaker.objects.all().delete()
    assert "behind a breaker whose row is gone" in timeline(result)


@pytest.mark.parametrize("round_number", [1, 2, 3])
def test_no_failure_counts_in_the_next_test(round_number: int) -> None:
    """Each round has two failures, one less than opens a breaker."""
    service.calls.using(max_retries=0).enqueue_many([(), ()])

    with down():
        drain()

    assert not OpenBreaker.objects.exists()
