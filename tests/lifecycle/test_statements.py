"""Enqueue, claim and settle take as many statements as the reference says, one Task or many."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from django_retrytasks import lifecycle
from django_retrytasks.errors.reports import report
from django_retrytasks.lifecycle import Claim
from django_retrytasks.lifecycle.lanes import paused_now, survey
from tests.docs.book import REFERENCE, table_after
from tests.support import tasks
from tests.support.driver import KEY, Driver, Outcome

pytestmark = pytest.mark.django_db(transaction=True)

COLUMNS = {"sqlite": 1, "postgresql": 2, "mysql": 3}
NOT_COUNTED = ("BEGIN", "COMMIT", "SAVEPOINT", "RELEASE")
ERROR = report(ConnectionError("no luck"), "tests")


def documented(page: Path = REFERENCE / "statements.md") -> dict[str, int]:
    """Return the documented number of statements of each step, on this run's database."""
    table = table_after(page.read_text(), "# Statements")
    return {row[0]: int(row[COLUMNS[connection.vendor]]) for row in table}


def counted(act: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        act()
    told = [query["sql"] for query in queries.captured_queries]
    return len([sql for sql in told if not sql.startswith(NOT_COUNTED)])


def in_a_transaction(act: Callable[[], Any]) -> int:
    with transaction.atomic():
        return counted(act)


class Steps:
    """The steps of the reference, each for so many Tasks."""

    def __init__(self, driver: Driver, count: int) -> None:
        self._driver = driver
        self._count = count

    def enqueue(self) -> None:
        """Have these Tasks alone due."""
        self._driver.drain()
        tasks.echoes.enqueue_many([(n,) for n in range(self._count)])

    def claimed(self) -> Claim:
        self.enqueue()
        claim = self._driver.claim(limit=200)
        assert len(claim.tasks) == self._count
        return claim

    def look(self) -> int:
        self.enqueue()
        return counted(lambda: survey(paused_now()).for_cluster(KEY))

    def claim(self) -> int:
        self.enqueue()
        due = survey().for_cluster(KEY).due
        return counted(lambda: lifecycle.claim(due, limit=200, worker="host:1:one"))

    def settle(self, outcome: Outcome = Outcome.SUCCEEDED, **details: Any) -> int:
        claim = self.claimed()
        endings = [self._driver.ending(task, outcome, **details) for task in claim.tasks]
        return counted(lambda: lifecycle.settle(endings))


@pytest.mark.parametrize("count", [1, 100])
def test_steps_take_the_documented_number_of_statements(driver: Driver, count: int) -> None:
    steps = Steps(driver, count)
    failed: dict[str, Any] = {"outcome": Outcome.FAILED, "error": ERROR}
    steps.settle(**failed)  # from now on the cause is known
    many = partial(tasks.echoes.enqueue_many, [(n,) for n in range(2 * count)])

    measured = {
        "`enqueue`": counted(tasks.succeeds.enqueue),
        "`enqueue` in a transaction": in_a_transaction(tasks.succeeds.enqueue),
        "`enqueue_many`, up to 1,000 calls": counted(many),
        "`enqueue_many` in a transaction": in_a_transaction(many),
        "look for due Tasks": steps.look(),
        "claim": steps.claim(),
        "settle: succeeded": steps.settle(),
        "settle: retried": steps.settle(**failed, countdown=5),
        "settle: failed for good": steps.settle(**failed),
    }

    assert measured == documented()
