"""A final failure is heard: receivers of task_failed and alerts, each a durable Task."""

import uuid
from typing import Any

import pytest
from django.utils import timezone

from django_retrytasks import lifecycle, retry_task
from django_retrytasks.alerts import Alert
from django_retrytasks.alerts.announcements import announce_failures
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import task_failed
from django_retrytasks.values import entries
from django_retrytasks.worker.attempt import AttemptRun
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

HERE = "tests.alerts.test_announcements"
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


def told_directly(task: Task, attempt: Attempt) -> None:
    heard.append((task, attempt))


async def told_asynchronously(task: Task, attempt: Attempt) -> None:
    heard.append((task, attempt))


@retry_task(max_retries=0, on_failure=told_directly)
def tells_directly() -> None:
    raise ValueError("not today")


@retry_task(max_retries=0, on_failure="tests.alerts.test_announcements.told_asynchronously")
def tells_by_path() -> None:
    raise ValueError("not today")


def alert(alert: Alert) -> None:
    assert alert.task is not None
    assert alert.attempt is not None
    heard.append((alert.task, alert.attempt))


def alert_in_vain_once(told: Alert) -> None:
    alert(told)
    if len(heard) == 1:
        raise ConnectionError("the pager is away")


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
    @pytest.mark.parametrize("use_tz", [True, False])
    @pytest.mark.parametrize("receiver", [hear, hear_asynchronously])
    def test_a_receiver_is_called_once_with_the_task_and_its_last_attempt(
        self, driver: Driver, settings: Any, receiver: Any, use_tz: bool
    ) -> None:
        settings.USE_TZ = use_tz
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
        assert Task.objects.filter(name__endswith="announce_failures").count() == 1

    def test_one_is_connected_by_its_path_in_the_settings(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [], "ON_FAILURE": [f"{HERE}.raise_once"]}
        result = tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert [str(task.pk) for task, _ in heard] == [result.id] * 2

    def test_one_connected_in_both_ways_is_called_once(self, driver: Driver, settings: Any) -> None:
        settings.RETRYTASKS = {"ALERTS": [], "ON_FAILURE": [f"{HERE}.hear"]}
        task_failed.connect(hear)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(heard) == 1

    def test_a_path_that_leads_nowhere_does_not_quiet_the_others(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [], "ON_FAILURE": ["nowhere.at_all", f"{HERE}.hear"]}
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(heard) == 1
        astray = Task.objects.get(internal=True, status=Status.FAILED)
        assert astray.args[0] == "nowhere.at_all"

    def test_an_alert_taken_out_of_the_settings_is_given_up_after_some_tries(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"]}
        tasks.fails_once_for_all.enqueue()
        [task] = driver.claim().tasks
        lifecycle.settle([AttemptRun(task, timezone.now).ending()])
        announce_failures.func(Task.objects.get(name=entries.ANNOUNCE_ENTRY).args[0])
        settings.RETRYTASKS = {"ALERTS": []}

        driver.drain()

        given_up = Task.objects.get(internal=True, status=Status.DISCARDED)
        outcomes = [attempt.outcome for attempt in driver.attempts(given_up)]
        assert outcomes == ["FAILED"] * 4 + ["DISCARDED"]

    @pytest.mark.parametrize("stop_reason", ["MAX_RETRIES", "NOT_IMPORTABLE"])
    def test_a_worker_without_the_code_leaves_on_failure_to_one_that_has_it(
        self, driver: Driver, stop_reason: str
    ) -> None:
        result = tells_directly.enqueue()
        [task] = driver.claim().tasks
        lifecycle.settle([driver.ending(task, Attempt.Outcome.FAILED)])
        Task.objects.filter(pk=result.id).update(
            name="tests.of_tomorrow.task", stop_reason=stop_reason
        )
        driver.run_due()
        Task.objects.filter(pk=result.id).update(name=tells_directly.module_path)

        driver.drain()

        assert len(heard) == (stop_reason == "MAX_RETRIES")

    def test_its_calls_wait_as_its_task_did_and_its_alerts_do_not(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"], "ON_FAILURE": [f"{HERE}.hear"]}
        tasks.fails_once_for_all.using(priority=-7).enqueue()
        driver.drain()

        priorities = Task.objects.filter(internal=True).values_list("name", "priority")
        assert {name.rpartition(".")[2]: priority for name, priority in priorities} == {
            "announce_failures": 100,
            "call_receiver": -7,
            "send_alert": 100,
        }

    @pytest.mark.parametrize("task", [tells_directly, tells_by_path])
    def test_that_of_one_function_alone_is_called_for_its_failures(
        self, driver: Driver, task: Any
    ) -> None:
        result = task.enqueue()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        [(failed, attempt)] = heard
        assert (str(failed.pk), attempt.number) == (result.id, 1)

    def test_failures_of_one_claim_are_announced_together_each_once(self, driver: Driver) -> None:
        task_failed.connect(hear)
        results = tasks.fails_once_for_all.enqueue_many([()] * 20)
        driver.drain()

        assert sorted(str(task.pk) for task, _ in heard) == sorted(r.id for r in results)
        announcements = Task.objects.filter(name=entries.ANNOUNCE_ENTRY)
        assert announcements.count() < len(results)

    def test_an_announcement_that_is_run_again_tells_nothing_twice(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"], "ON_FAILURE": [f"{HERE}.hear"]}
        tells_directly.enqueue()
        driver.drain()
        announced = Task.objects.get(name=entries.ANNOUNCE_ENTRY).args[0]
        assert len(heard) == 3

        announce_failures.func(announced)
        driver.drain()

        assert len(heard) == 3


class TestAlerts:
    def test_an_alert_is_called_with_the_task_and_its_last_attempt(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert"]}
        result = tasks.fails_once_for_all.enqueue()

        announced, *alerts = internal(driver)
        assert announced[0] == "announce_failures"
        assert sorted((name, args[0]) for name, args in alerts) == [
            ("send_alert", "django_retrytasks.alerts.log"),
            ("send_alert", f"{HERE}.alert"),
        ]

        [(task, attempt)] = heard
        assert (str(task.pk), attempt.exception_message) == (result.id, "not today")

    def test_without_alerts_and_receivers_the_log_alone_is_told(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        tasks.fails_once_for_all.enqueue()

        assert [name for name, _ in internal(driver)] == ["announce_failures", "send_alert"]
        [alerted] = [record for record in caplog.records if "Alert:" in record.message]
        assert alerted.levelname == "ERROR"
        assert "fails_once_for_all" in alerted.message

    def test_by_default_the_admins_are_mailed(
        self, driver: Driver, settings: Any, mailoutbox: list[Any]
    ) -> None:
        settings.RETRYTASKS = {}
        result = tasks.raises_from_cause.enqueue()

        driver.drain()

        [mail] = mailoutbox
        assert mail.to == ["admin@example.com"]
        for text in ("tests.support.tasks.raises_from_cause", result.id, "the effect", "the cause"):
            assert text in mail.body

    def test_an_alert_that_cannot_be_sent_is_tried_again(
        self, driver: Driver, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [f"{HERE}.alert_in_vain_once"]}
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(heard) == 2

    def test_an_alert_waits_in_the_queue_of_its_task_before_all_others(
        self, driver: Driver
    ) -> None:
        result = tasks.fails_once_for_all.using(queue_name="mail", priority=-5).enqueue()

        driver.attempt(result)

        announcement = Task.objects.get(name=entries.ANNOUNCE_ENTRY)
        assert (announcement.queue_name, announcement.priority) == ("mail", 100)


def announcement_of(task: Task) -> Task:
    """Return the Task that announces this failure."""
    announcement: Task = Task.objects.get(internal=True)
    assert announcement.args == [[[str(task.pk), task.attempt_count]]]
    return announcement
