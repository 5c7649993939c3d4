"""Tasks in another database than the default one: that which ``Q_CLUSTER["orm"]`` names."""

import pytest
from asgiref.sync import async_to_sync
from django.db import router, transaction
from django_q.models import OrmQ

from django_retrytasks import worker
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.values.contract import task_finished
from tests.support import tasks
from tests.support.driver import KEY, received
from tests.support.routers import ReadsElsewhere

pytestmark = [
    pytest.mark.django_db(transaction=True, databases=["default", "apart"]),
    pytest.mark.usefixtures("orm_apart"),
]


def counted(alias: str) -> tuple[int, int]:
    return Task.objects.using(alias).count(), OrmQ.objects.using(alias).count()


def test_task_and_wake_up_roll_back_with_that_database() -> None:
    with transaction.atomic(using="apart"):
        tasks.succeeds.enqueue()
        transaction.set_rollback(True, using="apart")

    assert (counted("apart"), counted("default")) == ((0, 0), (0, 0))


def test_a_savepoint_of_that_database_takes_both_with_it() -> None:
    with transaction.atomic(using="apart"):
        tasks.succeeds.enqueue()
        with transaction.atomic(using="apart"):
            tasks.succeeds.enqueue()
            transaction.set_rollback(True, using="apart")

    assert counted("apart") == (1, 1)


def test_a_rollback_of_the_default_database_leaves_both() -> None:
    with transaction.atomic():
        tasks.succeeds.enqueue()
        transaction.set_rollback(True)

    assert (counted("apart"), counted("default")) == ((1, 1), (0, 0))


def test_a_worker_claims_and_settles_there() -> None:
    result = tasks.fails_once_for_all.enqueue()

    worker.run(KEY)

    assert Task.objects.using("apart").get(pk=result.id).status == Status.FAILED
    assert Attempt.objects.using("apart").filter(task__id=result.id).count() == 1
    assert not Task.objects.using("default").exists()
    assert len(tasks.fails_once_for_all.get_result(result.id).errors) == 1


class TestRouter:
    """What a router reads from a replica, which lags behind, is read where it is written."""

    @pytest.fixture(autouse=True)
    def _reads_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(router, "routers", [ReadsElsewhere()])

    def test_results_have_their_attempts(self) -> None:
        result = tasks.fails_once_for_all.enqueue()
        worker.run(KEY)

        result.refresh()

        found = tasks.fails_once_for_all.get_result(result.id)
        awaited = async_to_sync(tasks.fails_once_for_all.aget_result)(result.id)
        for one in (result, found, awaited):
            assert [error.exception_class for error in one.errors] == [ValueError]
            assert one.attempts == 1

    def test_so_do_those_of_a_running_function_and_of_receivers(self) -> None:
        result = tasks.tells_context.enqueue()

        with received(task_finished) as calls:
            worker.run(KEY)

        told = tasks.tells_context.get_result(result.id).return_value
        assert told["errors"] == ["builtins.ConnectionError"] * 2
        assert [call["task_result"].attempts for call in calls] == [3]

    def test_so_is_what_a_site_asks_a_model_for(self) -> None:
        tasks.succeeds.enqueue()

        assert Task.objects.count() == 1
        assert Task.objects.using("default").count() == 0
