"""What transactions hide, and what several database sessions do at once."""

import threading
import uuid

import pytest
from django.db import connection, transaction
from django_q.models import OrmQ

from django_retrytasks import lifecycle
from django_retrytasks.models import Status, Task
from tests.support import tasks
from tests.support.driver import Driver, in_another_session

pytestmark = pytest.mark.django_db(transaction=True)


class TestTransactions:
    def test_a_rollback_takes_task_and_wake_up_with_it(self) -> None:
        with transaction.atomic():
            tasks.echoes.enqueue_many([(1,), (2,)])
            transaction.set_rollback(True)

        assert not Task.objects.exists()
        assert not OrmQ.objects.exists()

    def test_nobody_else_sees_a_task_before_the_commit(self) -> None:
        if connection.vendor == "sqlite":
            pytest.skip("a second writer waits there until the first commits")
        driver = Driver()

        with transaction.atomic():
            tasks.echoes.enqueue(1)
            before = in_another_session(lambda: driver.claim().tasks).result()
        after = in_another_session(lambda: driver.claim().tasks).result()

        assert (len(before), len(after)) == (0, 1)

    def test_a_claim_passes_over_what_another_session_is_claiming(self, driver: Driver) -> None:
        if not connection.features.has_select_for_update_skip_locked:
            pytest.skip("this database has no SKIP LOCKED")
        tasks.echoes.enqueue_many([(n,) for n in range(6)])

        with transaction.atomic():
            mine = driver.claim(limit=2)
            theirs = in_another_session(lambda: driver.claim(by="other")).result()

        assert (len(mine.tasks), len(theirs.tasks)) == (2, 4)
        assert not {task.pk for task in mine.tasks} & {task.pk for task in theirs.tasks}

    def test_sessions_claiming_at_once_share_the_tasks_without_overlap(self) -> None:
        tasks.succeeds.enqueue_many([()] * 60)
        ready = threading.Barrier(3)

        def claim_all() -> list[uuid.UUID]:
            driver, mine = Driver(), []
            ready.wait(10)
            while claimed := driver.claim(limit=5).tasks:
                mine += [task.pk for task in claimed]
            return mine

        sessions = [in_another_session(claim_all) for _ in range(3)]
        claimed = [pk for session in sessions for pk in session.result()]

        assert len(claimed) == 60
        assert len(set(claimed)) == 60

    def test_a_settle_waits_for_a_discard_of_another_session(self, driver: Driver) -> None:
        task = driver.task_in(Status.FAILED)

        with transaction.atomic():
            lifecycle.discard([task.pk])
            session = in_another_session(lambda: lifecycle.redrive([task.pk]))

        assert session.result() == 0
        assert driver.row(task).status == Status.DISCARDED
