"""A final failure is heard: receivers of task_failed and alerts, each a durable Task."""

import uuid
from typing import Any

import pytest

from django_retrytasks import lifecycle
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import task_failed
from tests import tasks
from tests.driver import Driver

pytestmark = pytest.mark.django_db

HERE = "tests.test_announcements"
heard: list[tuple[Task, Attempt]] = []
paged: list[Attempt] = []


def hear(task: Task, attempt: Attempt, **details: Any) -> None:
    heard.append((task, attempt))


async def hear_asynchronously(task: Task, attempt: Attempt, **details: Any) -> None:
    heard.append((task, attempt))


def raise_once(task: Task, attempt: Attempt, **details: Any) -> None:
    heard.append((task, attempt))
    paged.append(attempt)
    if len(paged) == 1:
        raise ConnectionError("the pager is away")


def alert(task: Task, attempt: Attempt) -> None:
    heard.append((task, attempt))


@pytest.fixture(autouse=True)
def _nothing_heard_and_nobody_alerted(settings: Any) -> Any:
    settings.RETRYTASKS = {"ALERTS": []}
    heard.clear()
    paged.clear()
    yield
    for receiver in (hear, hear_asynchronously, raise_once):
        task_failed.disconnect(receiver)


def internal(driver: Driver) -> list[tuple[str, list[Any]]]:
    """Run what announces; return the name and the arguments of each such Task."""
    return [(row.name.rpartition(".")[2], row.args) for row in driver.run_internal()]


class TestReceivers:
    @pytest.mark.parametrize("receiver", [hear, hear_asynchronously])
    def test_a_receiver_is_called_once_with_the_task_and_its_last_attempt(
        self, driver: Driver, receiver: Any
    ) -> None:
        task_failed.connect(receiver)
        result = tasks.fails_at_once_again.enqueue()

        driver.drain()

        [(task, attempt)] = heard
        assert (str(task.pk), task.status) == (result.id, Status.FAILED)
        assert (attempt.number, attempt.task) == (4, task)

    def test_it_is_not_called_for_a_failure_to_be_retried(self, driver: Driver) -> None:
        task_failed.connect(hear)
        result = tasks.always_fails.enqueue()

        driver.attempt(result)
        driver.run_due()

        assert heard == []

    def test_one_that_raises_is_called_again_and_the_others_are_not(self, driver: Driver) -> None:
        task_failed.connect(raise_once)
        task_failed.connect(hear)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(heard) == 3
        names = Attempt.objects.filter(task__internal=True).values_list("task__args", "outcome")
        calls = sorted((args[0], outcome) for args, outcome in names if len(args) == 3)
        assert calls == [
            (f"{HERE}.hear", "SUCCEEDED"),
            (f"{HERE}.raise_once", "FAILED"),
            (f"{HERE}.raise_once", "SUCCEEDED"),
        ]

    def test_one_disconnected_meanwhile_is_not_called(self, driver: Driver) -> None:
        task_failed.connect(hear)
        task = driver.task_in(Status.FAILED)
        lifecycle.claim_inline([announcement_of(task).pk], worker="host:1:one")
        driver.make_due(announcement_of(task))
        task_failed.disconnect(hear)

        driver.drain()

        assert heard == []

    def test_each_drive_that_fails_is_heard(self, driver: Driver) -> None:
        task_failed.connect(hear)
        result = tasks.fails_once_for_all.enqueue()
        driver.drain()
        lifecycle.redrive([uuid.UUID(result.id)])

        driver.drain()

        assert [attempt.number for _, attempt in heard] == [1, 2]

    def test_a_task_pruned_meanwhile_is_passed_over(self, driver: Driver) -> None:
        task_failed.connect(hear)
        task = driver.task_in(Status.FAILED)
        announcement = announcement_of(task)
        task.delete()

        driver.drain()

        assert heard == []
        assert driver.row(announcement).status == Status.DISCARDED

    def test_nothing_internal_is_announced_itself(self, driver: Driver) -> None:
        task_failed.connect(raise_once)
        tasks.fails_once_for_all.enqueue()
        driver.run_due()
        Task.objects.filter(internal=True).update(max_retries=0)

        driver.drain()

        assert Task.objects.filter(status=Status.FAILED, internal=True).exists() or len(heard) == 2
        assert Task.objects.filter(name__endswith="announce_failure").count() == 1


class TestAlerts:
    def test_an_alert_is_called_with_the_task_and_its_last_attempt(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"]}
        result = tasks.fails_once_for_all.enqueue()

        assert [name for name, _ in internal(driver)] == ["announce_failure", "send_alert"]

        [(task, attempt)] = heard
        assert (str(task.pk), attempt.exception_message) == (result.id, "not today")

    def test_without_alerts_and_receivers_nothing_more_is_stored(self, driver: Driver) -> None:
        tasks.fails_once_for_all.enqueue()

        assert [name for name, _ in internal(driver)] == ["announce_failure"]

    def test_by_default_the_admins_are_mailed(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.RETRYTASKS = {}
        result = tasks.raises_from_cause.enqueue()
        driver.run_due()
        mailoutbox.clear()

        driver.drain()

        [mail] = mailoutbox
        title = "[Django] tests.tasks.raises_from_cause failed after 1 attempts: ValueError"
        assert mail.subject == title
        assert mail.to == ["admin@example.com"]
        for line in (
            "Task:      tests.tasks.raises_from_cause",
            f"Id:        {result.id}",
            "Queue:     default",
            "Stopped:   max_retries reached: max_retries reached (0 retries)",
            "Exception: builtins.ValueError: the effect",
            "KeyError: 'the cause'",
        ):
            assert line in mail.body

    def test_an_alert_that_cannot_be_sent_is_tried_again(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.raise_once"]}
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(heard) == 2

    def test_an_alert_waits_in_the_queue_of_its_task_before_all_others(
        self, driver: Driver
    ) -> None:
        result = tasks.fails_once_for_all.using(queue_name="mail", priority=-5).enqueue()

        driver.attempt(result)

        announcement = Task.objects.get(internal=True)
        assert (announcement.queue_name, announcement.priority) == ("mail", 100)


def announcement_of(task: Task) -> Task:
    """Return the Task that announces this failure."""
    announcement: Task = Task.objects.get(internal=True)
    assert announcement.args[0] == str(task.pk)
    return announcement
