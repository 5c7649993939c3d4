"""The django.tasks contract, held by a backend that stores, runs elsewhere and retries."""

from __future__ import annotations

import copy
import logging
import pickle
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import django
import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.tasks import async_task, fetch
from pytest_django import DjangoAssertNumQueries, Settings

from django_retrytasks import RetryTask, RetryTaskContext, lifecycle, retry_task
from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.exceptions import AttemptTimedOut, NotImportable, WorkerLost
from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.tasks import as_retry_task
from django_retrytasks.values.contract import (
    InvalidTask,
    Task,
    TaskContext,
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
    task_backends,
    task_enqueued,
    task_finished,
    task_started,
)
from tests.support import tasks
from tests.support.driver import Driver, received
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

OURS = "django_retrytasks.backend.RetryTasksBackend"
CORE = "django.tasks" if django.VERSION >= (6, 0) else "django_tasks"
FOREIGN = f"{CORE}.backends.immediate.ImmediateBackend"
# The contract's own decorator; its types do not know what a backend's task_class takes.
task: Any = import_string(f"{CORE}.task")
# django.tasks of Django 6.0 takes no options of a backend's own.
takes_options = pytest.mark.skipif(
    (6, 0) <= django.VERSION < (6, 1), reason="@task of Django 6.0 takes no further options"
)
IDS = {
    "empty": "",
    "short": "123",
    "no hex": "z" * 32,
    "NUL": "\0" * 32,
    "lone surrogate": "\ud800" * 36,
    "quote": "' OR 1=1 --",
    "over-long": "1" * 100_000,
    "bytes": b"1" * 32,
    "number": 123,
    "None": None,
}


def backend(alias: str = "default") -> Any:
    return task_backends[alias]


def configure(settings: Settings, **aliases: Mapping[str, Any]) -> None:
    """Have TASKS hold these aliases, on our backend unless they name another."""
    base = {"BACKEND": OURS, "QUEUES": []}
    settings.TASKS = {alias: {**base, **params} for alias, params in aliases.items()}


def linear(exception: BaseException, task_result: Any) -> float | None:
    return 7


def tells_backoff(exception: BaseException, task_result: Any) -> float | None:
    told.append((exception, task_result))
    return 30


def stops(exception: BaseException, task_result: Any) -> float | None:
    return None


told: list[tuple[BaseException, Any]] = []


@retry_task(max_attempts=10, backoff=tells_backoff)
def backs_off() -> None:
    raise ConnectionError("busy")


@retry_task(max_attempts=10, backoff=stops)
def backs_out() -> None:
    raise ConnectionError("busy")


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


class TestWhatItSupports:
    @pytest.mark.parametrize("feature", ["defer", "async_task", "get_result", "priority"])
    def test_every_feature_of_the_contract(self, feature: str) -> None:
        assert getattr(backend(), f"supports_{feature}") is True

    def test_the_alias_and_options_are_those_of_the_setting(self, settings: Settings) -> None:
        configure(settings, default={"OPTIONS": {"max_retries": 4}})

        assert isinstance(backend(), RetryTasksBackend)
        assert (backend().alias, backend().options) == ("default", {"max_retries": 4})


class TestEnqueue:
    def test_the_result_is_ready_and_knows_no_times_yet(self) -> None:
        result = plain.sends_receipt.enqueue(7, copy=True)

        assert result.task == plain.sends_receipt
        assert result.status == TaskResultStatus.READY
        assert (result.args, result.kwargs) == ([7], {"copy": True})
        assert (result.backend, result.attempts, result.errors) == ("default", 0, [])
        assert not result.is_finished
        assert result.enqueued_at is not None
        assert (result.started_at, result.last_attempted_at, result.finished_at) == (None,) * 3
        with pytest.raises(ValueError, match="Task has not finished yet"):
            _ = result.return_value

    def test_aenqueue_does_the_same(self) -> None:
        result = async_to_sync(plain.fetches.aenqueue)("/")

        assert (result.status, result.args) == (TaskResultStatus.READY, ["/"])
        assert Row.objects.get(pk=result.id).name == "tests.support.third_party.tasks.fetches"

    def test_an_id_is_a_short_string(self) -> None:
        assert len(tasks.succeeds.enqueue().id) == 36

    def test_the_result_equals_the_one_that_is_fetched_once_it_is_refreshed(self) -> None:
        result = tasks.echoes.using(priority=3, max_retries=1).enqueue((1, 2), other={"a": ()})

        result.refresh()

        assert result == tasks.echoes.get_result(result.id)
        assert (result.args, result.kwargs) == ([[1, 2]], {"other": {"a": []}})
        assert "priority=3" in repr(result)

    def test_the_result_has_arguments_of_its_own(self) -> None:
        addresses = ["ann"]

        result = tasks.echoes.enqueue(addresses)
        addresses.append("bob")

        assert result.args == [["ann"]]

    def test_arguments_come_back_with_their_types(self) -> None:
        value = [datetime(2026, 1, 2, 3, tzinfo=UTC), Decimal("1.10"), uuid.UUID(int=5)]

        result = tasks.echoes.enqueue(value, other=timedelta(1))

        fetched = tasks.echoes.get_result(result.id)
        assert (fetched.args, fetched.kwargs) == ([value], {"other": timedelta(1)})

    @pytest.mark.parametrize("verb", ["enqueue", "aenqueue"])
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ((object(),), "argument 'order_id' cannot be stored: object"),
            ((b"1",), "argument 'order_id' cannot be stored: bytes"),
            ((), "missing a required argument: 'order_id'"),
            ((1, 2), "too many positional arguments"),
        ],
    )
    def test_a_wrong_call_fails_at_once_and_stores_nothing(
        self, verb: str, args: tuple[Any, ...], message: str
    ) -> None:
        call = getattr(plain.sends_receipt, verb)

        with pytest.raises(TypeError, match=message):
            (async_to_sync(call) if verb == "aenqueue" else call)(*args)

        assert not Row.objects.exists()

    @pytest.mark.parametrize("verb", ["enqueue", "aenqueue"])
    def test_a_task_is_validated_again(self, verb: str, settings: Settings) -> None:
        letters = plain.sends_receipt.using(queue_name="letters")
        configure(settings, default={"QUEUES": ["default"]})
        call = getattr(letters, verb)

        with pytest.raises(InvalidTask, match="Queue 'letters' is not valid for backend"):
            (async_to_sync(call) if verb == "aenqueue" else call)(1)

    def test_a_queue_name_that_no_column_holds_is_refused(self) -> None:
        longest = plain.sends_receipt.using(queue_name="q" * 100).enqueue(1)

        assert Row.objects.get(pk=longest.id).queue_name == "q" * 100
        with pytest.raises(InvalidTask, match="queue_name is longer than 100 characters"):
            plain.sends_receipt.using(queue_name="q" * 101)

    def test_a_task_made_for_another_backend_is_stored_under_this_one(
        self, settings: Settings, driver: Driver
    ) -> None:
        configure(settings, default={"OPTIONS": {"max_retries": 6}}, away={"BACKEND": FOREIGN})
        foreign = task(backend="away")(plain.sends_receipt.func)
        assert type(foreign) is Task

        result = backend().enqueue(foreign, (1,), {})
        driver.run_due()

        row = driver.row(result)
        assert (row.backend, row.max_retries, row.status) == ("default", 6, Status.SUCCEEDED)


class TestGetResult:
    def test_it_is_the_state_of_now(self, driver: Driver) -> None:
        result = plain.sends_receipt.enqueue(7)
        assert backend().get_result(result.id).status == TaskResultStatus.READY

        driver.run_due()

        fetched = plain.sends_receipt.get_result(result.id)
        assert (fetched.status, fetched.return_value) == (TaskResultStatus.SUCCESSFUL, "receipt 7")
        assert fetched.is_finished

    def test_aget_result_does_the_same(self) -> None:
        result = plain.sends_receipt.enqueue(7)

        assert async_to_sync(plain.sends_receipt.aget_result)(result.id).id == result.id
        assert async_to_sync(backend().aget_result)(result.id).id == result.id

    @pytest.mark.parametrize("fetch", ["refresh", "arefresh"])
    def test_a_result_refreshes_itself(self, fetch: str, driver: Driver) -> None:
        result = plain.sends_receipt.enqueue(7)
        driver.run_due()

        refresh = getattr(result, fetch)
        (async_to_sync(refresh) if fetch == "arefresh" else refresh)()

        assert (result.status, result.return_value) == (TaskResultStatus.SUCCESSFUL, "receipt 7")
        assert (result.attempts, result.worker_ids) == (1, [driver.row(result).worker])

    def test_it_takes_two_queries(
        self, driver: Driver, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        driver.attempt(result)

        with django_assert_num_queries(2):
            assert len(tasks.always_fails.get_result(result.id).errors) == 2

    def test_an_unknown_id_does_not_exist(self) -> None:
        unknown = str(uuid.uuid4())

        with pytest.raises(TaskResultDoesNotExist, match=unknown):
            tasks.succeeds.get_result(unknown)
        with pytest.raises(TaskResultDoesNotExist, match=unknown):
            async_to_sync(tasks.succeeds.aget_result)(unknown)

    @pytest.mark.parametrize("given", IDS.values(), ids=IDS)
    def test_what_is_no_id_does_not_exist_and_is_not_looked_for(
        self, given: Any, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        with django_assert_num_queries(0), pytest.raises(TaskResultDoesNotExist):
            backend().get_result(given)

    def test_a_result_of_another_task_is_a_mismatch(self) -> None:
        result = tasks.echoes.enqueue(1)

        with pytest.raises(TaskResultMismatch, match=r"received 'tests\.tasks\.echoes'"):
            tasks.succeeds.get_result(result.id)
        with pytest.raises(TaskResultMismatch, match=r"received 'tests\.tasks\.echoes'"):
            async_to_sync(tasks.succeeds.aget_result)(result.id)

    def test_a_result_whose_function_is_gone_names_it(self) -> None:
        result = tasks.succeeds.enqueue()
        Row.objects.filter(pk=result.id).update(name="tests.support.tasks.has_gone")

        with pytest.raises(NotImportable, match=r"tests\.tasks\.has_gone cannot be imported"):
            backend().get_result(result.id)

    def test_a_result_whose_alias_has_left_the_settings_is_still_read(
        self, settings: Settings
    ) -> None:
        configure(settings, default={}, letters={})
        result = tasks.succeeds.using(backend="letters", max_retries=1).enqueue()
        configure(settings, default={})

        fetched = backend().get_result(result.id)

        assert (fetched.backend, fetched.task.backend) == ("letters", "letters")

    def test_arguments_that_are_unreadable_do_not_hide_the_rest(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()
        with connection.cursor() as cursor:
            cursor.execute("UPDATE retrytasks_task SET args = 'no JSON'")

        driver.run_due()

        fetched = backend().get_result(result.id)
        assert fetched.status == TaskResultStatus.FAILED
        assert [error.exception_class for error in fetched.errors] == [ValueError]


@pytest.mark.django_db(transaction=True)
def test_another_process_runs_it_and_this_one_reads_it() -> None:
    connection.close()
    result = plain.prints_at_third_attempt.enqueue("page")
    command = (
        "import django; django.setup();"
        "from django.db import connection;"
        "from django_retrytasks import worker;"
        "from tests.support.driver import Driver, KEY;"
        "from tests.support.third_party.tasks import prints_at_third_attempt as task;"
        f"result = task.get_result('{result.id}');"
        "[Driver().attempt(result) for _ in range(3)];"
        "result.refresh();"
        "print(result.return_value)"
    )

    told = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=False
    )

    assert told.stdout == "page at attempt 3\n", told.stderr
    result.refresh()
    assert (result.return_value, result.attempts) == ("page at attempt 3", 3)
    here = async_to_sync(plain.prints_at_third_attempt.aget_result)(result.id)
    assert here.worker_ids == result.worker_ids
    assert here.errors == result.errors


class TestAttempts:
    def test_each_failed_attempt_has_its_error_in_order(self, driver: Driver) -> None:
        result = plain.prints_at_third_attempt.enqueue("page")

        seen = []
        for _ in range(3):
            driver.attempt(result)
            result.refresh()
            seen.append((result.status, result.attempts, len(result.errors)))

        assert seen == [
            (TaskResultStatus.READY, 1, 1),
            (TaskResultStatus.READY, 2, 2),
            (TaskResultStatus.SUCCESSFUL, 3, 2),
        ]
        assert [e.exception_class for e in result.errors] == [ConnectionError, TimeoutError]
        assert result.errors[0].traceback.endswith("ConnectionError: printer is away\n")
        assert result.return_value == "page at attempt 3"
        assert result.worker_ids == [driver.row(result).worker] * 3

    def test_a_failed_one_has_no_return_value(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()

        driver.run_due()

        result.refresh()
        assert (result.status, result.is_finished) == (TaskResultStatus.FAILED, True)
        with pytest.raises(ValueError, match="Task failed"):
            _ = result.return_value

    def test_times_are_of_the_first_start_the_last_start_and_the_end(self, driver: Driver) -> None:
        result = tasks.always_fails.using(max_retries=2).enqueue()

        seen = []
        for _ in range(3):
            driver.attempt(result)
            result.refresh()
            seen.append((result.started_at, result.last_attempted_at, result.finished_at))

        starts = [attempt.started_at for attempt in driver.attempts(result)]
        end = driver.row(result).finished_at
        assert seen == [
            (starts[0], starts[0], None),
            (starts[0], starts[1], None),
            (starts[0], starts[2], end),
        ]
        assert end is not None
        assert result.enqueued_at is not None
        assert result.enqueued_at <= starts[0] < starts[1] < starts[2] <= end

    def test_a_running_one_counts_its_worker(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()
        driver.attempt(result)
        driver.make_due(result)

        driver.claim(by="host:2:two")

        result.refresh()
        assert result.status == TaskResultStatus.RUNNING
        assert result.attempts == 2
        assert result.worker_ids[1] == "host:2:two"
        assert len(result.errors) == 1

    def test_a_lost_attempt_is_an_error_of_the_lost_worker(self, driver: Driver) -> None:
        result = tasks.always_fails.enqueue()
        driver.claim(by="host:2:two")

        driver.attempt(result)

        result.refresh()
        assert result.worker_ids[0] == "host:2:two"
        assert [error.exception_class for error in result.errors] == [WorkerLost]

    def test_a_timeout_is_an_error(self, driver: Driver) -> None:
        result = tasks.sleeps.using(timeout=0.05, max_retries=0).enqueue(5)

        driver.run_due()

        result.refresh()
        assert [error.exception_class for error in result.errors] == [AttemptTimedOut]

    def test_a_base_exception_is_an_error(self, driver: Driver) -> None:
        result = plain.exits.enqueue()

        driver.run_due()

        result.refresh()
        assert result.status == TaskResultStatus.FAILED
        assert [error.exception_class for error in result.errors] == [SystemExit]
        assert result.errors[0].traceback.endswith("SystemExit: out of here\n")

    def test_a_return_value_that_cannot_be_stored_is_an_error(self, driver: Driver) -> None:
        result = tasks.returns_unstorable.enqueue()

        driver.run_due()

        result.refresh()
        assert result.status == TaskResultStatus.FAILED
        assert "the return value cannot be stored" in result.errors[0].traceback

    def test_a_snooze_is_an_attempt_without_an_error(self, driver: Driver) -> None:
        result = tasks.snoozes_once.enqueue()

        driver.run_due()

        result.refresh()
        assert (result.status, result.attempts, result.errors) == (TaskResultStatus.READY, 1, [])

    def test_a_discarded_one_has_failed_without_an_error(self, driver: Driver) -> None:
        result = tasks.discards.enqueue()

        driver.run_due()

        result.refresh()
        assert (result.status, result.attempts, result.errors) == (TaskResultStatus.FAILED, 1, [])

    def test_a_redriven_one_keeps_id_errors_and_first_start(self, driver: Driver) -> None:
        result = tasks.fails_once_for_all.enqueue()
        driver.run_due()
        result.refresh()
        first_start = result.started_at

        lifecycle.redrive([uuid.UUID(result.id)])
        result.refresh()
        redriven = (result.status, result.started_at, result.finished_at, len(result.errors))
        driver.run_due()
        result.refresh()

        assert redriven == (TaskResultStatus.READY, first_start, None, 1)
        assert (result.status, result.started_at) == (TaskResultStatus.FAILED, first_start)
        assert (result.attempts, len(result.errors)) == (2, 2)
        assert first_start is not None

    @pytest.mark.parametrize(
        "value",
        [None, 0, "", [], date(2026, 1, 2), [Decimal("0.10"), timedelta(3)], uuid.UUID(int=1)],
        ids=str,
    )
    def test_a_return_value_keeps_its_type(self, value: Any, driver: Driver) -> None:
        result = tasks.echoes.enqueue(value)

        driver.run_due()

        result.refresh()
        assert result.return_value == value
        assert type(result.return_value) is type(value)


class TestStatuses:
    @pytest.mark.parametrize(
        ("status", "shown"),
        [
            (Status.PENDING, TaskResultStatus.READY),
            (Status.RUNNING, TaskResultStatus.RUNNING),
            (Status.RETRYING, TaskResultStatus.READY),
            (Status.SUCCEEDED, TaskResultStatus.SUCCESSFUL),
            (Status.FAILED, TaskResultStatus.FAILED),
            (Status.DISCARDED, TaskResultStatus.FAILED),
        ],
    )
    def test_each_status_has_one_of_the_contract(
        self, status: Status, shown: TaskResultStatus, driver: Driver
    ) -> None:
        row = driver.task_in(status)

        assert backend().get_result(str(row.pk)).status == shown


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


class TestSignals:
    def test_a_task_is_enqueued_started_and_finished_once_over_all_its_retries(
        self, driver: Driver
    ) -> None:
        with (
            received(task_enqueued) as enqueued,
            received(task_started) as started,
            received(task_finished) as finished,
        ):
            result = tasks.always_fails.enqueue()
            counts = []
            for _ in range(4):
                driver.attempt(result)
                counts.append((len(enqueued), len(started), len(of(finished, result))))

        assert counts == [(1, 1, 0), (1, 1, 0), (1, 1, 0), (1, 1, 1)]
        [told] = of(finished, result)
        assert told["sender"] is enqueued[0]["sender"] is started[0]["sender"] is RetryTasksBackend
        assert enqueued[0]["task_result"] is result
        assert started[0]["task_result"].status == TaskResultStatus.RUNNING
        assert (told["task_result"].status, len(told["task_result"].errors)) == ("FAILED", 4)

    def test_a_finished_task_tells_its_return_value(self, driver: Driver) -> None:
        with received(task_finished) as finished:
            tasks.echoes.enqueue(Decimal("1.5"))
            driver.run_due()

        assert finished[0]["task_result"].return_value == Decimal("1.5")

    def test_the_exception_is_at_hand_when_a_task_has_failed(self, driver: Driver) -> None:
        seen: list[Any] = []

        def receiver(**details: Any) -> None:
            seen.append(sys.exc_info()[0])

        task_finished.connect(receiver)
        plain.exits.enqueue()
        tasks.succeeds.enqueue()
        driver.run_due()
        task_finished.disconnect(receiver)

        assert seen[:2] == [SystemExit, None]

    def test_a_receiver_that_raises_harms_nothing(self, driver: Driver) -> None:
        def receiver(**details: Any) -> None:
            raise RuntimeError("deaf")

        signals = (task_enqueued, task_started, task_finished)
        for signal in signals:
            signal.connect(receiver)
        result = tasks.succeeds.enqueue()
        driver.run_due()
        for signal in signals:
            signal.disconnect(receiver)

        assert driver.row(result).status == Status.SUCCEEDED

    def test_the_sender_is_the_class_that_the_alias_names(
        self, settings: Settings, driver: Driver
    ) -> None:
        configure(settings, default={}, letters={"BACKEND": f"{__name__}.Letters"})

        with (
            received(task_enqueued) as enqueued,
            received(task_started) as started,
            received(task_finished) as finished,
        ):
            tasks.succeeds.using(backend="letters").enqueue()
            driver.run_due()

        senders = [signals[0]["sender"] for signals in (enqueued, started, finished)]
        assert senders == [Letters, Letters, Letters]

    def test_a_redrive_starts_and_finishes_anew(self, driver: Driver) -> None:
        with received(task_started) as started, received(task_finished) as finished:
            result = tasks.fails_once_for_all.enqueue()
            driver.run_due()
            lifecycle.redrive([uuid.UUID(result.id)])
            driver.run_due()

        assert (len(of(started, result)), len(of(finished, result))) == (2, 2)

    def test_the_log_of_django_tasks_is_written(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, CORE)

        result = tasks.fails_once_for_all.enqueue()
        driver.run_due()

        lines = [r for r in caplog.records if r.name == CORE and result.id in r.getMessage()]
        assert [r.levelname for r in lines] == ["DEBUG", "INFO", "ERROR"]
        assert [r.getMessage().rpartition(" ")[2] for r in lines[1:]] == [
            "state=RUNNING",
            "state=FAILED",
        ]
        assert lines[-1].exc_info
        assert lines[-1].exc_info[0] is ValueError


class Letters(RetryTasksBackend):
    """A backend that a site has derived."""


def of(signals: list[dict[str, Any]], result: Any) -> list[dict[str, Any]]:
    return [told for told in signals if told["task_result"].id == result.id]


class TestPriority:
    def test_a_higher_one_overtakes_a_backlog(self, driver: Driver) -> None:
        for priority in (0, -100, 0, 5):
            plain.sends_receipt.using(priority=priority).enqueue(priority)
        plain.sends_receipt.using(priority=100).enqueue(100)

        claimed = driver.claim(limit=3).tasks

        assert [row.args for row in claimed] == [[100], [5], [0]]

    @pytest.mark.parametrize("priority", [-101, 101, 3.1])
    def test_it_is_a_whole_number_from_minus_100_to_100(self, priority: Any) -> None:
        with pytest.raises(InvalidTask, match="whole number between -100 and 100"):
            plain.sends_receipt.using(priority=priority)


class TestRunAfter:
    def test_it_does_not_run_before(self, driver: Driver) -> None:
        tomorrow = timezone.now() + timedelta(days=1)
        result = plain.sends_receipt.using(run_after=tomorrow).enqueue(1)

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.run_after) == (Status.PENDING, tomorrow)

    def test_a_timedelta_is_counted_from_now(self) -> None:
        before = timezone.now()

        later = tasks.succeeds.using(run_after=timedelta(hours=1))

        assert later.run_after is not None
        assert before <= later.run_after - timedelta(hours=1) <= timezone.now()

    def test_a_naive_datetime_is_refused(self) -> None:
        with pytest.raises(InvalidTask, match="run_after must be an aware datetime"):
            plain.sends_receipt.using(run_after=datetime(2027, 1, 2))

    def test_anything_else_is_refused(self) -> None:
        with pytest.raises(TypeError, match="run_after must be an aware datetime or a timedelta"):
            tasks.succeeds.using(run_after="tomorrow")  # type: ignore[arg-type]


class TestPolicyLayers:
    @pytest.mark.parametrize(
        ("site", "options", "decorator", "call", "expected"),
        [
            ({}, {}, {}, {}, 3),
            ({"max_retries": 4}, {}, {}, {}, 4),
            ({"max_retries": 4}, {"max_retries": 5}, {}, {}, 5),
            ({"max_retries": 4}, {"max_retries": 5}, {"max_retries": 6}, {}, 6),
            ({"max_retries": 4}, {"max_retries": 5}, {"max_retries": 6}, {"max_retries": 7}, 7),
            ({"max_retries": 4}, {"max_attempts": 6}, {}, {"max_attempts": 1}, 0),
            ({"max_retries": 4}, {"max_retries": 5}, {}, {"max_retries": None}, None),
        ],
    )
    def test_call_over_decorator_over_backend_over_site(
        self,
        site: dict[str, Any],
        options: dict[str, Any],
        decorator: dict[str, Any],
        call: dict[str, Any],
        expected: int | None,
        settings: Settings,
        driver: Driver,
    ) -> None:
        settings.RETRYTASKS = {"POLICY": site}
        configure(settings, default={"OPTIONS": options})
        decorate: Any = retry_task(**decorator)
        made = decorate(plain.sends_receipt.func).using(**call)

        result = made.enqueue(1)

        assert made.policy.max_retries == driver.row(result).max_retries == expected

    def test_layers_are_laid_option_by_option(self, settings: Settings) -> None:
        settings.RETRYTASKS = {"POLICY": {"countdown": 1, "timeout": 2, "max_retries": 9}}
        configure(settings, default={"OPTIONS": {"timeout": 3}})

        policy = retry_task(max_retries=8)(plain.sends_receipt.func).using(jitter=False).policy

        assert (policy.countdown, policy.timeout, policy.max_retries) == (1, 3, 8)
        assert policy.jitter is False

    @pytest.mark.parametrize("place", ["beside BACKEND", "in OPTIONS"])
    def test_names_proposed_for_django_are_taken(
        self, place: str, settings: Settings, driver: Driver
    ) -> None:
        given = {"MAX_ATTEMPTS": 2, "BACKOFF": f"{__name__}.linear"}
        configure(settings, default=given if place == "beside BACKEND" else {"OPTIONS": given})

        result = plain.breaks.enqueue()
        driver.attempt(result)
        driver.attempt(result)

        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 1 in 7 s",
            "max_retries reached (1 retry)",
        ]

    def test_a_callable_backoff_may_stand_in_the_settings(self, settings: Settings) -> None:
        configure(settings, default={"BACKOFF": linear})

        assert as_retry_task(plain.breaks).policy.backoff is linear

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"OPTIONS": {"max_retrys": 1}}, r"TASKS\['default'\].*'max_retrys'.*.max_retries."),
            ({"OPTIONS": {"MAX_ATTEMPT": 1}}, r"TASKS\['default'\].*'max_attempt'.*.max_attempts."),
            ({"OPTIONS": {"max_attempts": 2, "max_retries": 1}}, "or max_attempts, not both"),
            ({"MAX_ATTEMPTS": 2, "OPTIONS": {"max_retries": 1}}, "or max_attempts, not both"),
        ],
    )
    def test_a_misspelt_option_of_a_backend_suggests_the_right_one(
        self, params: dict[str, Any], message: str, settings: Settings
    ) -> None:
        configure(settings, default=params)
        made = task(plain.breaks.func)

        with pytest.raises(TypeError, match=message):
            made.enqueue()

    def test_a_backoff_that_cannot_be_imported_is_named(self, settings: Settings) -> None:
        configure(settings, default={"BACKOFF": "no.where"})
        made = task(plain.breaks.func)

        with pytest.raises(ImportError, match=r"backoff 'no\.where' cannot be imported"):
            made.enqueue()

    @takes_options
    def test_plain_task_takes_the_options(self, driver: Driver) -> None:
        made: Any = task(max_attempts=10, backoff=linear, timeout=30)(plain.breaks.func)

        assert (made.policy.max_retries, made.policy.backoff) == (9, linear)
        assert driver.row(made.enqueue()).timeout == 30

    @takes_options
    def test_plain_task_suggests_the_right_option(self) -> None:
        with pytest.raises(TypeError, match=r"breaks: unknown option 'max_retry'.*.max_retries."):
            task(max_retry=1)(plain.breaks.func)

    @takes_options
    def test_plain_task_takes_no_run_after(self) -> None:
        if django.VERSION < (6, 0):
            pytest.skip("the backport hands its own run_after over")
        with pytest.raises(TypeError, match="run_after"):
            task(run_after=timezone.now())(plain.breaks.func)

    def test_retry_task_suggests_the_right_option(self) -> None:
        with pytest.raises(TypeError, match=r"breaks: unknown option 'max_retry'.*.max_retries."):
            retry_task(max_retry=1)(plain.breaks.func)  # type: ignore[call-overload]

    def test_backoff_is_told_the_exception_and_the_result_as_failed(self, driver: Driver) -> None:
        told.clear()
        result = backs_off.enqueue()

        driver.attempt(result)
        driver.attempt(result)

        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 9 in 30 s",
            "retry 2 of 9 in 30 s",
        ]
        shown = [
            (str(exception), seen.id, seen.status, seen.attempts, len(seen.errors))
            for exception, seen in told
        ]
        assert shown == [
            ("busy", result.id, TaskResultStatus.FAILED, 1, 1),
            ("busy", result.id, TaskResultStatus.FAILED, 2, 2),
        ]
        assert told[0][1].errors[0].exception_class is ConnectionError
        assert told[0][1].finished_at is not None

    def test_backoff_stops_by_none(self, driver: Driver) -> None:
        result = backs_out.enqueue()

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.stop_reason, row.attempt_count) == (Status.FAILED, "BACKOFF", 1)


class TestAliases:
    def test_one_function_through_two_aliases_has_two_policies(
        self, settings: Settings, driver: Driver
    ) -> None:
        configure(
            settings,
            default={"OPTIONS": {"max_retries": 1}},
            eager={"OPTIONS": {"max_retries": 3, "countdown": 2, "jitter": False}},
        )
        calm = plain.breaks.enqueue()
        eager = plain.breaks.using(backend="eager").enqueue()

        driver.drain()

        assert len(driver.attempts(calm)) == 2
        assert [attempt.decision for attempt in driver.attempts(eager)] == [
            "retry 1 of 3 in 2 s",
            "retry 2 of 3 in 4 s",
            "retry 3 of 3 in 8 s",
            "max_retries reached (3 retries)",
        ]
        assert [backend().get_result(r.id).backend for r in (calm, eager)] == ["default", "eager"]

    def test_each_has_its_queues(self, settings: Settings) -> None:
        configure(settings, default={"QUEUES": ["default"]}, mail={"QUEUES": ["letters"]})

        letters = plain.breaks.using(backend="mail", queue_name="letters")

        assert letters.enqueue().task.queue_name == "letters"
        with pytest.raises(InvalidTask, match="Queue 'letters' is not valid"):
            plain.breaks.using(queue_name="letters")

    def test_an_unknown_one_is_refused(self) -> None:
        with pytest.raises(ImproperlyConfigured, match="'nowhere' doesn't exist"):
            plain.breaks.using(backend="nowhere")

    def test_one_that_turns_foreign_leaves_its_waiting_tasks_runnable(
        self, settings: Settings, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        configure(settings, default={}, mail={})
        result = as_retry_task(plain.breaks).using(backend="mail", max_retries=0).enqueue()
        neighbour = tasks.succeeds.enqueue()
        configure(settings, default={}, mail={"BACKEND": FOREIGN})
        foreign = task(backend="mail")(plain.breaks.func)
        monkeypatch.setattr(plain, "breaks", foreign)

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.attempt_count) == (Status.FAILED, 1)
        assert driver.row(neighbour).status == Status.SUCCEEDED


class TestWithoutOurBackend:
    @pytest.fixture(params=["none", "empty", "foreign", "no default"])
    def site(self, request: pytest.FixtureRequest, settings: Settings) -> None:
        if request.param == "none":
            del settings.TASKS
        else:
            settings.TASKS = {
                "empty": {},
                "foreign": {"default": {"BACKEND": FOREIGN, "QUEUES": ["mail"]}},
                "no default": {"other": {"BACKEND": FOREIGN}},
            }[request.param]

    @pytest.mark.usefixtures("site")
    def test_a_retry_task_is_stored_run_and_fetched(self, driver: Driver) -> None:
        made = retry_task(max_retries=2, queue_name="any")(tasks.echoes.func)

        result = made.enqueue(5)
        driver.run_due()

        fetched = made.get_result(result.id)
        assert (fetched.return_value, driver.row(result).max_retries) == (5, 2)

    def test_an_alias_of_another_backend_is_refused(self, settings: Settings) -> None:
        configure(settings, default={}, other={"BACKEND": FOREIGN})

        with pytest.raises(InvalidTask, match=r"TASKS\['other'\] is no RetryTasksBackend"):
            tasks.echoes.using(backend="other")

    def test_a_default_that_cannot_be_imported_is_an_error(self, settings: Settings) -> None:
        settings.TASKS = {"default": {"BACKEND": "does.not.exist"}}

        with pytest.raises(ImproperlyConfigured, match=r"does\.not\.exist"):
            tasks.echoes.enqueue(1)


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


class TestThirdParty:
    @pytest.fixture(autouse=True)
    def _policy(self, settings: Settings) -> None:
        configure(settings, default={"OPTIONS": {"max_retries": 3, "countdown": 5}})

    def test_a_task_that_knows_nothing_of_retries_is_retried(self, driver: Driver) -> None:
        result = plain.breaks.enqueue()

        driver.drain()

        row = driver.row(result)
        assert (row.status, row.retry_count, row.attempt_count) == (Status.FAILED, 3, 4)
        assert len(driver.attempts(result)) == 4

    def test_a_coroutine_runs(self, driver: Driver) -> None:
        result = async_to_sync(plain.fetches.aenqueue)("/")

        driver.run_due()

        value: Any = plain.fetches.get_result(result.id).return_value
        assert value == "fetched /"

    def test_one_made_before_the_site_chose_our_backend_is_taken_too(
        self, settings: Settings, driver: Driver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ours = settings.TASKS
        configure(settings, default={"BACKEND": FOREIGN})
        early = task(plain.breaks.func)
        assert type(early) is Task
        monkeypatch.setattr(plain, "breaks", early)
        settings.TASKS = ours

        result = early.enqueue()
        driver.drain()

        assert driver.row(result).attempt_count == 4
        assert len(driver.attempts(result)) == 4


class TestBesideAsyncTask:
    def test_a_package_of_django_q2_calls_the_function_that_is_decorated_by_now(self) -> None:
        package = async_task("tests.support.tasks.echoes", 5, other=6, sync=True, save=True)

        assert fetch(package).result == [5, 6]
        assert not Row.objects.exists()

    def test_a_function_that_async_task_runs_may_enqueue(self) -> None:
        package = async_task("tests.test_backend.enqueues_receipts", sync=True, save=True)

        assert fetch(package).success
        assert [row.args for row in Row.objects.order_by("pk")] == [[1], [2]]


def enqueues_receipts() -> None:
    for order_id in (1, 2):
        plain.sends_receipt.enqueue(order_id)


@pytest.fixture(autouse=True)
def _told() -> Iterator[None]:
    yield
    told.clear()
