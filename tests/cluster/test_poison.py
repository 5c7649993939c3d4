"""Real workers after functions that leave a mess on their connections and in their exceptions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_retrytasks.models import Attempt, Status, Task
from tests.support import hostile
from tests.support.cluster import is_idle, running_cluster, wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.django_db(transaction=True)]

STATEMENTS: dict[str, list[tuple[str, ...]]] = {
    "postgresql": [
        ("BEGIN",),
        ("SET search_path TO nowhere",),
        ("SET default_transaction_read_only = on",),
        ("SET statement_timeout = '1ms'",),
        ("SET SESSION AUTHORIZATION DEFAULT", "LISTEN news"),
    ],
    "mysql": [
        ("START TRANSACTION",),
        ("SET SESSION TRANSACTION READ ONLY",),
        ("SET SESSION sql_mode = 'ANSI_QUOTES'",),
        ("USE mysql",),
    ],
    "sqlite": [("BEGIN",), ("PRAGMA query_only = on",)],
}


@pytest.fixture
def cluster(transactional_db: None, tmp_path: Path) -> Iterator[None]:
    """Two workers; they keep their connections: see CONN_MAX_AGE in the settings."""
    with running_cluster(tmp_path / "log"):
        yield
        wait_for(is_idle)


@pytest.mark.usefixtures("cluster")
def test_neighbours_run_and_every_outcome_is_stored() -> None:
    results = [hostile.closes_the_driver.enqueue() for _ in range(2)]
    results += [hostile.leaves_a_wrapper.enqueue() for _ in range(2)]
    for statements in STATEMENTS[connection.vendor]:
        results += [hostile.runs.enqueue(*statements) for _ in range(2)]
    failing = [hostile.raises_from_itself.enqueue(), hostile.fails_in_a_raw_transaction.enqueue()]
    probes = hostile.probes.enqueue_many([(number,) for number in range(20)])

    wait_for(lambda: all_are(Status.SUCCEEDED, [*results, *probes]), 20)
    wait_for(lambda: all_are(Status.FAILED, failing), 20)

    assert all(Task.objects.get(pk=one.id).return_value == "done" for one in results)
    counts = Task.objects.filter(internal=False).values_list("attempt_count", flat=True)
    assert sorted(counts) == [1] * (len(results) + len(probes)) + [2, 2]
    assert not Attempt.objects.filter(outcome=Attempt.Outcome.LOST).exists()


def all_are(status: Status, results: list[Any]) -> bool:
    """Whether all these Tasks have this status."""
    rows = Task.objects.filter(pk__in=[result.id for result in results], status=status)
    return rows.count() == len(results)
