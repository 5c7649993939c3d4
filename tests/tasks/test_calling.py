"""Every way to call a task, and the policy that the call runs under."""

import pickle
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from django_retrytasks import RetryTask, lifecycle, retry_task
from django_retrytasks.models import Status, Task
from django_retrytasks.values.contract import (
    InvalidTask,
    TaskResultDoesNotExist,
    TaskResultStatus,
    signals_logger,
    task_backends,
    task_enqueued,
)
from django_retrytasks.values.contract import Task as ContractTask
from tests.support import tasks
from tests.support.driver import Driver
from tests.tasks.made_up import module_level

pytestmark = pytest.mark.django_db


class TestPolicy:
    def test_the_call_goes_over_the_decorator_over_the_backend_over_the_site(
        self, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"POLICY": {"max_retries": 9, "countdown": 90, "timeout": 900}}
        settings.TASKS = backend(OPTIONS={"max_retries": 8, "countdown": 80})
        task = retry_task(max_retries=7)(module_level())

        policy = task.using(jitter=False).policy

        values = (policy.max_retries, policy.countdown, policy.timeout, policy.jitter)
        assert values == (7, 80.0, 900.0, False)

    def test_the_row_keeps_what_the_call_chose(self, driver: Driver) -> None:
        chosen = tasks.always_fails.using(
            max_retries=1, countdown=timedelta(minutes=1), timeout=30
        ).enqueue()

        row = driver.attempt(chosen)

        assert (row.max_retries, row.timeout) == (1, 30.0)
        assert row.options == {"max_retries": 1, "countdown": 60.0, "timeout": 30}
        assert driver.attempts(row)[0].decision == "retry 1 of 1 in 60 s"

    def test_options_beside_the_backend_are_taken(self, settings: Any) -> None:
        settings.TASKS = backend(
            MAX_ATTEMPTS=6, OPTIONS={"backoff": "tests.tasks.test_calling.seven"}
        )

        policy = retry_task(module_level()).policy

        assert policy.max_retries == 5
        assert policy.backoff is seven

    @pytest.mark.parametrize(
        "options", [{"retry_on": OSError}, {"no_retry_on": OSError}, {"backoff": print}]
    )
    def test_code_cannot_be_chosen_for_a_call(self, options: dict[str, Any]) -> None:
        with pytest.raises(TypeError, match="is code, which a call cannot store"):
            tasks.echoes.using(**options)

    def test_for_ever_is_stored_as_no_limit(self, driver: Driver) -> None:
        row = driver.attempt(tasks.always_fails.using(max_retries=None).enqueue())

        assert row.max_retries is None
        assert driver.attempts(row)[0].decision == "retry 1 (no limit) in 5 s"

    def test_no_retries_at_all_means_one_attempt(self, driver: Driver) -> None:
        row = driver.attempt(tasks.always_fails.using(max_retries=0).enqueue())

        assert (row.status, row.attempt_count) == (Status.FAILED, 1)


def seven(exception: BaseException, task_result: Any) -> int:
    return 7


def backend(**options: Any) -> dict[str, Any]:
    path = "django_retrytasks.backend.RetryTasksBackend"
    return {"default": {"BACKEND": path, "QUEUES": [], **options}}


class TestCalling:
    def test_enqueue_returns_a_result_to_ask(self, driver: Driver) -> None:
        result = tasks.echoes.enqueue(1, other=2)
        assert (result.status, result.args, result.kwargs) == (
            TaskResultStatus.READY,
            [1],
            {"other": 2},
        )

        driver.run_due()
        result.refresh()

        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, [1, 2])
        assert (result.attempts, result.errors) == (1, [])
        assert task_backends["default"].get_result(result.id).return_value == [1, 2]
        assert tasks.echoes.get_result(result.id).id == result.id

    @pytest.mark.parametrize("unknown", [str(uuid.UUID(int=1)), "no id", ""])
    def test_a_result_nobody_knows_does_not_exist(self, unknown: str) -> None:
        with pytest.raises(TaskResultDoesNotExist):
            task_backends["default"].get_result(unknown)

    def test_a_failure_is_among_the_errors(self, driver: Driver) -> None:
        result = tasks.always_fails.using(max_retries=1).enqueue()

        driver.attempt(result)
        result.refresh()
        retrying = result.status
        driver.attempt(result)
        result.refresh()

        assert (retrying, result.status) == (TaskResultStatus.READY, TaskResultStatus.FAILED)
        assert [error.exception_class for error in result.errors] == [ConnectionError] * 2
        assert len(result.worker_ids) == 2

    @pytest.mark.django_db(transaction=True)
    def test_aenqueue_stores_as_enqueue_does(self, driver: Driver) -> None:
        result = async_to_sync(tasks.echoes.aenqueue)(1, other=2)

        row = driver.row(result)
        assert (row.args, row.kwargs) == ([1], {"other": 2})

    def test_delay_and_apply_async_are_celerys_spelling(self, driver: Driver) -> None:
        eta = datetime(2030, 1, 1, tzinfo=UTC)
        delayed = tasks.echoes.delay(1, other=2)
        at = tasks.echoes.apply_async((1,), {"other": 2}, eta=eta, queue="slow", priority=3)
        soon = tasks.echoes.apply_async(countdown=timedelta(hours=1))

        assert (driver.row(delayed).args, driver.row(delayed).kwargs) == ([1], {"other": 2})
        row = driver.row(at)
        assert (row.run_after, row.queue_name, row.priority) == (eta, "slow", 3)
        run_after = driver.row(soon).run_after
        assert run_after is not None
        assert abs(run_after - timezone.now() - timedelta(hours=1)) < timedelta(seconds=10)

    def test_a_countdown_and_an_eta_exclude_each_other(self) -> None:
        with pytest.raises(TypeError, match="give countdown or eta, not both"):
            tasks.echoes.apply_async(countdown=1, eta=timezone.now())

    def test_a_plain_call_stores_nothing(self) -> None:
        assert tasks.echoes(1, other=2) == [1, 2]
        assert not Task.objects.exists()

    def test_a_plain_call_without_its_context_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"fails_twice\(\) needs its context: enqueue it, or"):
            tasks.fails_twice()

    def test_call_runs_it_here_as_django_tasks_does(self) -> None:
        assert tasks.echoes.call(1) == 1
        acall: Callable[[int], Any] = tasks.waits_and_returns.acall
        assert async_to_sync(acall)(7) == 7

    def test_takes_context_is_the_other_name_of_bind(self, driver: Driver) -> None:
        taken: Any = tasks.takes_context_too
        result = taken.enqueue(5)

        driver.run_due()

        assert driver.row(result).return_value == [1, 5]

    def test_a_plain_task_of_django_runs_under_the_backends_policy(
        self, driver: Driver, settings: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.TASKS = backend(OPTIONS={"max_retries": 1, "countdown": 9, "jitter": False})
        plain = tasks.plain_task(tasks.not_decorated)
        monkeypatch.setattr(tasks, "not_decorated", plain)
        result = plain.enqueue("x")

        row = driver.attempt(result)

        assert (row.max_retries, row.status) == (1, Status.RETRYING)
        assert driver.attempts(row)[0].decision == "retry 1 of 1 in 9 s"


class TestEnqueueMany:
    def test_calls_are_tuples_lists_or_mappings(self, driver: Driver) -> None:
        results = tasks.echoes.enqueue_many([(1,), [2], {"value": 3}])

        stored = [(driver.row(result).args, driver.row(result).kwargs) for result in results]
        assert stored == [([1], {}), ([2], {}), ([], {"value": 3})]

    @pytest.mark.parametrize("call", [1, "text", None])
    def test_anything_else_is_refused(self, call: Any) -> None:
        with pytest.raises(TypeError, match="a call is a tuple of arguments or a mapping"):
            tasks.echoes.enqueue_many([(1,), call])

        assert not Task.objects.exists()

    def test_one_call_that_does_not_fit_stores_none(self) -> None:
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'wrong'"):
            tasks.echoes.enqueue_many([(1,), {"wrong": 2}])

        assert not Task.objects.exists()


class TestEnqueueManyWithoutResults:
    @pytest.fixture(autouse=True)
    def is_quiet(self) -> Iterator[None]:
        """Turn off Django's own log, which makes a result for each Task at DEBUG."""
        level = signals_logger.level
        signals_logger.setLevel("INFO")
        yield
        signals_logger.setLevel(level)

    def test_stores_a_thousand_while_the_next_calls_are_made(self) -> None:
        stored = []

        def calls() -> Iterator[tuple[int]]:
            for number in range(2500):
                if number % 1000 == 0:
                    stored.append(Task.objects.count())
                yield (number,)

        assert tasks.echoes.enqueue_many(calls(), results=False) == []
        assert (stored, Task.objects.count()) == ([0, 1000, 2000], 2500)

    def test_a_late_failure_stores_none(self) -> None:
        def calls() -> Iterator[tuple[int]]:
            yield from ((number,) for number in range(1500))
            raise OSError("the file ends here")

        with pytest.raises(OSError, match="the file ends here"):
            tasks.echoes.enqueue_many(calls(), results=False)

        assert not Task.objects.exists()
        assert not OrmQ.objects.exists()

    def test_receivers_hear_of_every_task_once_all_are_stored(self) -> None:
        heard = []

        def hears(sender: Any, task_result: Any, **kwargs: Any) -> None:
            heard.append((task_result.args, Task.objects.count()))

        task_enqueued.connect(hears)
        try:
            tasks.echoes.enqueue_many(((number,) for number in range(3)), results=False)
        finally:
            task_enqueued.disconnect(hears)

        assert heard == [([0], 3), ([1], 3), ([2], 3)]


class TestArguments:
    def test_they_come_back_as_what_they_were(self, driver: Driver) -> None:
        value = {
            "at": datetime(2026, 5, 1, 12, tzinfo=UTC),
            "day": date(2026, 5, 1),
            "span": timedelta(days=1, microseconds=3),
            "price": Decimal("12.30"),
            "id": uuid.UUID(int=5),
            "text": "ä\0\ud800",
        }
        result = tasks.echoes.enqueue([value])

        assert driver.attempt(result).return_value == [value]
        assert driver.row(result).args == [[value]]

    @pytest.mark.parametrize(
        ("args", "kwargs", "message"),
        [
            ((1, 2), {}, r"echoes\(\): too many positional arguments"),
            ((), {"wrong": 1}, r"echoes\(\): got an unexpected keyword argument 'wrong'"),
            ((object(),), {}, r"echoes\(\): argument 'value' cannot be stored"),
            ((), {"other": [{"a": b"x"}]}, r"echoes\(\): argument 'other' cannot be stored"),
            (("x" * 1024 * 1024,), {}, r"echoes\(\): the arguments take \d+ bytes, more than"),
        ],
    )
    def test_a_wrong_call_fails_at_enqueue_and_stores_nothing(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(TypeError, match=message):
            tasks.echoes.enqueue(*args, **kwargs)

        assert not Task.objects.exists()
        assert not OrmQ.objects.exists()

    def test_the_context_is_no_argument_of_the_call(self) -> None:
        with pytest.raises(TypeError, match=r"fails_twice\(\): too many positional arguments"):
            tasks.fails_twice.enqueue(1)  # type: ignore[call-arg]

    def test_a_naive_run_after_is_refused(self) -> None:
        with pytest.raises(InvalidTask, match="run_after"):
            tasks.echoes.using(run_after=datetime(2030, 1, 1)).enqueue(1)


class TestBackends:
    def test_a_task_runs_on_a_site_that_has_not_set_tasks(
        self, driver: Driver, settings: Any
    ) -> None:
        del settings.TASKS

        result = tasks.echoes.enqueue(1)

        assert driver.attempt(result).status == Status.SUCCEEDED

    def test_another_alias_must_be_one_of_ours(self, settings: Any) -> None:
        dummy = f"{ContractTask.__module__.rpartition('.')[0]}.backends.dummy.DummyBackend"
        settings.TASKS = {**backend(), "other": {"BACKEND": dummy}}

        with pytest.raises(InvalidTask, match=r"TASKS\['other'\] is no RetryTasksBackend"):
            retry_task(backend="other")(module_level())

    def test_a_queue_the_backend_does_not_list_is_refused(self, settings: Any) -> None:
        settings.TASKS = {"default": {**backend()["default"], "QUEUES": ["default"]}}

        with pytest.raises(InvalidTask, match="mail"):
            tasks.echoes.using(queue_name="mail")

    def test_using_changes_a_copy(self) -> None:
        changed = tasks.echoes.using(priority=5, queue_name="mail", max_retries=1)

        assert (tasks.echoes.priority, tasks.echoes.queue_name) == (0, "default")
        assert (changed.priority, changed.queue_name) == (5, "mail")
        assert tasks.echoes.policy.max_retries == 3
        assert type(changed) is RetryTask

    def test_it_is_pickled_with_what_was_chosen(self) -> None:
        chosen = tasks.fails_twice.using(priority=5, max_retries=1)

        assert pickle.loads(pickle.dumps(chosen)) == chosen
        assert pickle.loads(pickle.dumps(tasks.succeeds)) == tasks.succeeds


@pytest.mark.django_db(transaction=True)
class TestSync:
    @pytest.fixture(autouse=True)
    def _sync(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Conf, "SYNC", True)

    def test_it_runs_inline_after_the_commit(self, driver: Driver) -> None:
        with transaction.atomic():
            result = tasks.echoes.enqueue(1)
            before = driver.row(result).status

        assert (before, driver.row(result).status) == (Status.PENDING, Status.SUCCEEDED)
        assert [attempt.number for attempt in driver.attempts(result)] == [1]
        assert not OrmQ.objects.exists()

    def test_a_rollback_runs_nothing(self, tmp_path: Any) -> None:
        with transaction.atomic():
            tasks.notes.enqueue(str(tmp_path))
            transaction.set_rollback(True)

        assert tasks.noted(tmp_path) == []

    def test_delays_are_skipped_and_the_rows_are_the_same(
        self, driver: Driver, mailoutbox: list[Any]
    ) -> None:
        result = tasks.always_fails.using(run_after=timezone.now() + timedelta(days=1)).enqueue()

        row = driver.row(result)
        assert (row.status, row.attempt_count, row.stop_reason) == ("FAILED", 4, "MAX_RETRIES")
        assert driver.attempts(result)[2].decision == "retry 3 of 3 in 20 s"
        assert not Task.objects.unfinished().exists()
        subjects = [mail.subject for mail in mailoutbox]
        assert "[Django] always_fails failed: ConnectionError (attempt 4)" in (subjects)

    def test_a_redrive_runs_inline_too(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()

        lifecycle.redrive([uuid.UUID(result.id)])

        assert driver.row(result).attempt_count == 2
