"""A failed unique Task runs again only if it can take its key again."""

from __future__ import annotations

from typing import Any

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.models import Status
from tests.lifecycle.test_unique import end_period, holder_of_the_key
from tests.support.driver import Driver
from tests.support.unique import pk_of, reminds, ships_once

pytestmark = pytest.mark.django_db


class TestRedrive:
    def failed(self, driver: Driver, order: int = 1) -> Any:
        result = ships_once.enqueue(order, fails=True)
        driver.run_due()
        assert driver.row(result).status == Status.FAILED
        return result

    def test_it_takes_the_key_again(self, driver: Driver) -> None:
        first = self.failed(driver)

        assert lifecycle.redrive([pk_of(first)]) == 1

        assert ships_once.enqueue(1).id == first.id

    def test_it_is_refused_while_another_holds_the_key_and_says_which(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        first, other = self.failed(driver), self.failed(driver, 2)
        holder = ships_once.enqueue(1)

        changed = lifecycle.redrive.change([pk_of(first), pk_of(other)])

        assert [task.pk for task in changed] == [pk_of(other)]
        assert driver.row(first).status == Status.FAILED
        assert lifecycle.holders_of([pk_of(first), pk_of(other)]) == {pk_of(first): pk_of(holder)}
        assert f"another Task holds its unique key: id={first.id}" in caplog.text

    def test_of_two_with_one_key_the_first_runs_again(self, driver: Driver) -> None:
        first, second = self.failed(driver), self.failed(driver)

        assert lifecycle.redrive([pk_of(first), pk_of(second)]) == 1

        assert holder_of_the_key() == first.id
        assert lifecycle.holders_of([pk_of(second)]) == {pk_of(second): pk_of(first)}

    def test_within_its_own_period_it_has_the_key_still(self, driver: Driver) -> None:
        first = reminds.enqueue(1, fails=True)
        driver.run_due()

        assert lifecycle.redrive([pk_of(first)]) == 1
        assert holder_of_the_key() == first.id

    def test_a_period_that_is_over_refuses_none(self, driver: Driver) -> None:
        first = reminds.enqueue(1, fails=True)
        driver.run_due()
        end_period(first)
        second = reminds.enqueue(1)
        driver.run_due()
        end_period(second)

        assert lifecycle.redrive([pk_of(first)]) == 1
        assert holder_of_the_key() == first.id
