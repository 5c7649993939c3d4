"""The helper by which a process dies at one of its writes."""

import pytest
from django.db import transaction
from django_q.models import OrmQ

from django_retrytasks.broker import wakeups
from django_retrytasks.models import Task
from tests.adversary.test_crash_points import SURVIVED, exit_code_of
from tests.support import tasks
from tests.support.crashes import KILLED as CRASHED
from tests.support.crashes import crash_at
from tests.support.driver import KEY

pytestmark = pytest.mark.django_db(transaction=True)


class TestCrashAt:
    def test_a_body_with_fewer_writes_just_ends(self) -> None:
        with crash_at(99):
            tasks.echoes.enqueue(1)

        assert Task.objects.count() == 1

    def test_the_write_before_which_it_crashes_has_not_happened(self) -> None:
        assert exit_code_of(add_wake_ups, 1, after=False) == CRASHED

        assert not OrmQ.objects.exists()

    def test_a_commit_counts_as_a_write(self) -> None:
        assert exit_code_of(add_wake_ups, 2, after=False) == CRASHED
        assert not OrmQ.objects.exists()

        assert exit_code_of(add_wake_ups, 2, after=True) == CRASHED
        assert OrmQ.objects.count() == 2

    def test_afterwards_nothing_crashes_any_more(self) -> None:
        def act() -> None:
            with crash_at(9):
                add_wake_ups()
            for _ in range(9):
                add_wake_ups()

        assert exit_code_of(act, 99, after=False) == SURVIVED

    @pytest.mark.parametrize("number", [0, -1])
    def test_a_number_below_one_is_refused(self, number: int) -> None:
        message = f"crash_at: number must be at least 1, not {number}"

        with pytest.raises(ValueError, match=message), crash_at(number):
            pass


def add_wake_ups() -> None:
    """Insert two rows by one statement, and commit them."""
    with transaction.atomic():
        wakeups.write(KEY, [wakeups.now()] * 2)
