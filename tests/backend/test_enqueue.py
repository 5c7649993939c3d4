"""What the backend supports, and what it stores at enqueue."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone
from pytest_django import Settings

from django_retrytasks.backend import RetryTasksBackend
from django_retrytasks.models import Status
from django_retrytasks.models import Task as Row
from django_retrytasks.values.contract import InvalidTask, Task, TaskResultStatus
from tests.backend.aliases import FOREIGN, backend, configure, task
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db


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
