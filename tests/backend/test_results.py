"""The results that the backend returns: statuses, attempts, errors and times."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection
from pytest_django import DjangoAssertNumQueries, Settings

from django_retrytasks import lifecycle
from django_retrytasks.exceptions import AttemptTimedOut, NotImportable, WorkerLost
from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.values.contract import (
    TaskResultDoesNotExist,
    TaskResultMismatch,
    TaskResultStatus,
)
from tests.backend.aliases import backend, configure
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

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

        with pytest.raises(TaskResultMismatch, match=r"received 'tests\.support\.tasks\.echoes'"):
            tasks.succeeds.get_result(result.id)
        with pytest.raises(TaskResultMismatch, match=r"received 'tests\.support\.tasks\.echoes'"):
            async_to_sync(tasks.succeeds.aget_result)(result.id)

    def test_a_result_whose_function_is_gone_names_it(self) -> None:
        result = tasks.succeeds.enqueue()
        Row.objects.filter(pk=result.id).update(name="tests.support.tasks.has_gone")

        with pytest.raises(
            NotImportable, match=r"tests\.support\.tasks\.has_gone cannot be imported"
        ):
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
