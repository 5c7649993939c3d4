"""The task object of django.tasks, and the context that it hands on."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils.module_loading import import_string

from django_retrytasks import RetryTask, RetryTaskContext, retry_task
from django_retrytasks.models import Task as Row
from django_retrytasks.values.contract import InvalidTask, Task, TaskContext
from tests.backend.aliases import task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


@retry_task(backoff=lambda exception, result: 1)
def has_anonymous_backoff() -> None:
    """Do nothing."""


@retry_task(takes_context=True, max_retries=2, countdown=0)
def retries_by_context(context: RetryTaskContext) -> list[Any]:
    if context.attempt == 1:
        raise context.retry(countdown=9)
    return [
        isinstance(context, TaskContext),
        context.attempt,
        context.retry_count,
        context.task_result.attempts,
        context.idempotency_key == context.task_result.id,
    ]


class TestContext:
    def test_takes_context_hands_ours(self, driver: Driver) -> None:
        result = retries_by_context.enqueue()

        driver.attempt(result)
        assert driver.attempts(result)[0].decision == "retry 1 of 2 in 9 s"
        driver.attempt(result)

        result.refresh()
        assert result.return_value == [True, 2, 1, 2, True]

    def test_takes_context_needs_an_argument_of_that_name(self) -> None:
        with pytest.raises(InvalidTask, match="first argument of 'context'"):
            retry_task(takes_context=True)(plain.sends_receipt.func)


class TestTaskObject:
    def test_plain_decorators_make_retry_tasks(self) -> None:
        made = [plain.sends_receipt, plain.breaks, plain.fetches]

        assert [type(one) for one in made] == [RetryTask, RetryTask, RetryTask]
        assert all(isinstance(one, Task) for one in made)

    def test_it_has_the_name_and_path_of_its_function(self) -> None:
        assert plain.breaks.name == "breaks"
        assert plain.breaks.module_path == "tests.support.third_party.tasks.breaks"
        assert import_string(plain.breaks.module_path) is plain.breaks

    def test_using_makes_another_and_leaves_it_as_it_was(self) -> None:
        same = tasks.echoes.using()
        later = tasks.echoes.using(run_after=datetime(2030, 1, 1, tzinfo=UTC))
        first = later.using(priority=10, max_retries=9).using(queue_name="slow", countdown=2)

        assert same == tasks.echoes
        assert same is not tasks.echoes
        assert (first.run_after, first.priority, first.queue_name) == (later.run_after, 10, "slow")
        assert (first.policy.max_retries, first.policy.countdown) == (9, 2)
        assert (later.priority, tasks.echoes.run_after, tasks.echoes.priority) == (0, None, 0)
        assert tasks.echoes.policy.max_retries == 3

    def test_replace_does_as_using(self) -> None:
        assert replace(tasks.echoes, priority=4) == tasks.echoes.using(priority=4)

    @pytest.mark.parametrize(
        "through", [copy.copy, copy.deepcopy, None], ids=["copy", "deepcopy", "pickle"]
    )
    @pytest.mark.parametrize(
        "given",
        [
            tasks.echoes,
            tasks.celery_shaped,
            retries_by_context,
            has_anonymous_backoff,
            plain.breaks,
            tasks.echoes.using(
                priority=4, queue_name="slow", max_retries=1, countdown=timedelta(seconds=3)
            ),
        ],
        ids=lambda given: given.name,
    )
    def test_a_copy_and_a_pickle_equal_it(
        self, given: Any, through: Callable[[Any], Any] | None
    ) -> None:
        through = through or (lambda value: pickle.loads(pickle.dumps(value)))

        copied = through(given)

        assert copied == given
        assert hash(copied) == hash(given)
        assert copied.policy == given.policy
        assert {given, copied} == {given}

    @pytest.mark.parametrize(
        "other",
        [
            tasks.echoes.using(priority=1),
            tasks.echoes.using(queue_name="slow"),
            tasks.echoes.using(max_retries=2),
            tasks.echoes.using(run_after=datetime(2030, 1, 1, tzinfo=UTC)),
            retry_task(max_retries=2)(tasks.echoes.func),
            tasks.succeeds,
        ],
    )
    def test_another_does_not_equal_it(self, other: Any) -> None:
        assert other != tasks.echoes

    def test_a_result_is_copied_and_pickled(self, driver: Driver) -> None:
        result = tasks.fails_twice.enqueue()
        fresh = pickle.loads(pickle.dumps(result))
        driver.drain()
        result.refresh()

        assert fresh != result
        assert pickle.loads(pickle.dumps(result)) == copy.deepcopy(result) == result
        assert pickle.loads(pickle.dumps(result)).return_value == 3

    @pytest.mark.parametrize("path", ["does.not.exist", "tests.support.tasks.gone"])
    def test_a_pickle_whose_function_has_gone_is_not_read(self, path: str) -> None:
        make, (_, values) = tasks.echoes.__reduce__()

        with pytest.raises(ImportError):
            make(path, values)

    def test_a_pickle_of_what_is_no_task_is_not_read(self) -> None:
        make, (_, values) = tasks.echoes.__reduce__()

        with pytest.raises(ValueError, match=r"builtins\.any is no task"):
            make("builtins.any", values)

    @pytest.mark.parametrize("decorate", [task, retry_task])
    def test_what_no_worker_could_import_is_refused(self, decorate: Any) -> None:
        def nested() -> None: ...

        for function in (any, nested, self.test_what_no_worker_could_import_is_refused):
            with pytest.raises(InvalidTask):
                decorate(function)

    def test_call_and_acall_run_it_here(self) -> None:
        fetches: Any = plain.fetches

        assert plain.sends_receipt.call(3, copy=True) == "receipt 3 and a copy"
        assert fetches.call("/") == "fetched /"
        assert async_to_sync(plain.sends_receipt.acall)(3) == "receipt 3"
        assert async_to_sync(fetches.acall)("/") == "fetched /"
        assert not Row.objects.exists()
