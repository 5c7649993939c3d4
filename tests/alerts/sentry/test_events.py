"""A final failure is one event in Sentry, and nothing else is."""

from __future__ import annotations

import logging
import uuid

import pytest
import sentry_sdk
from django_q.conf import Conf

from django_retrytasks import lifecycle
from django_retrytasks.alerts.sentry import capture_attempt
from django_retrytasks.models import Status, Task
from django_retrytasks.signals import attempt_failed, task_failed
from django_retrytasks.worker import batch
from tests.alerts.sentry.stage import LOCAL, SECRET, Sent, exceptions, refuses
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


class TestFinalFailure:
    def test_is_one_event_however_many_attempts_failed(
        self, driver: Driver, sentry: Sent, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = tasks.fails_at_once_again.enqueue()

        driver.drain()

        assert driver.row(result).attempt_count == 4
        [event] = sentry.events
        assert event["tags"]["attempt"] == "4"
        # Sentry's logging integration would have made an event of each of these.
        errors = [record.name for record in caplog.records if record.levelno == logging.ERROR]
        assert "django_retrytasks" in errors
        assert {"django.tasks", "django_tasks"} & set(errors)

    def test_is_none_while_it_is_retried(self, driver: Driver, sentry: Sent) -> None:
        result = tasks.always_fails.enqueue()

        for _ in range(3):
            driver.attempt(result)

        assert driver.row(result).status == Status.RETRYING
        assert sentry.events == []

    def test_is_told_in_full(self, driver: Driver, sentry: Sent) -> None:
        result = tasks.always_fails.using(queue_name="mail", max_retries=0).enqueue("no server")

        driver.drain()

        task, [attempt] = driver.row(result), driver.attempts(result)
        [event] = sentry.events
        assert (event["level"], event["transaction"]) == (
            "error",
            "tests.support.tasks.always_fails",
        )
        assert event["fingerprint"] == [str(task.failure_group_id)]
        assert task.failure_group_id is not None
        assert event["tags"] == {
            "task": "tests.support.tasks.always_fails",
            "queue_name": "mail",
            "stop_reason": "MAX_RETRIES",
            "attempt": "1",
        }
        assert event["contexts"]["task"] == {
            "id": result.id,
            "worker": attempt.worker,
            "retry_count": 0,
            "arguments": {"message": "no server"},
        }
        assert event["contexts"]["trace"]["trace_id"] == task.pk.hex

    @pytest.mark.django_db(transaction=True)
    def test_in_a_process_that_serves_requests_has_nothing_of_these(
        self, sentry: Sent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Conf, "SYNC", True)
        sentry_sdk.set_tag("customer", "another")
        sentry_sdk.set_user({"id": "another"})
        sentry_sdk.add_breadcrumb(message="another")
        sentry_sdk.get_isolation_scope().add_event_processor(lambda event, hint: None)
        sentry_sdk.Scope.get_global_scope().set_tag("site", "shop")

        tasks.always_fails.enqueue()

        assert "another" not in sentry.text
        [event] = sentry.events
        assert (event["tags"]["site"], event["tags"]["attempt"]) == ("shop", "4")

    def test_of_a_lost_worker_has_no_frames(self, driver: Driver, sentry: Sent) -> None:
        result = tasks.echoes.using(max_retries=0).enqueue()
        driver.claim(by="far:7:gone")
        driver.make_due(result)

        driver.drain()

        [exception] = exceptions(sentry)
        assert exception["type"] == "WorkerLost"
        assert "far:7:gone" in exception["value"]
        assert "stacktrace" not in exception
        assert sentry.events[0]["contexts"]["task"]["worker"] == "far:7:gone"

    def test_may_be_a_timeout(self, driver: Driver, sentry: Sent) -> None:
        tasks.sleeps.using(max_retries=0).enqueue(20)

        driver.drain()

        [exception] = exceptions(sentry)
        assert exception["type"] == "AttemptTimedOut"
        functions = [frame["function"] for frame in exception["stacktrace"]["frames"]]
        assert "sleeps" in functions

    def test_of_code_that_is_gone_hides_all_arguments(self, driver: Driver, sentry: Sent) -> None:
        tasks.echoes.using(max_retries=0).enqueue(SECRET)
        Task.objects.update(name="tests.gone.task", given_back_count=batch.GIVE_BACKS)

        driver.drain()

        assert exceptions(sentry)[-1]["type"] == "NotImportable"
        assert SECRET not in sentry.text

    def test_that_was_redriven_is_another_event_of_the_same_issue(
        self, driver: Driver, sentry: Sent
    ) -> None:
        result = tasks.fails_once_for_all.enqueue()
        driver.drain()
        lifecycle.redrive([uuid.UUID(result.id)])

        driver.drain()

        first, second = sentry.events
        assert first["event_id"] != second["event_id"]
        assert first["fingerprint"] == second["fingerprint"]


class TestLogLines:
    def test_of_other_loggers_are_events_still(self, sentry: Sent) -> None:
        logging.getLogger("shop").error("out of stock")

        assert messages(sentry) == ["out of stock"]

    def test_about_trouble_of_our_own_are_events_still(self, sentry: Sent) -> None:
        logging.getLogger("django_retrytasks").error("Cluster frozen: key=%s", "shop")

        assert messages(sentry) == ["Cluster frozen: key=%s"]

    def test_of_our_own_show_no_local_variables(self, sentry: Sent) -> None:
        def tell(name: str, told: str) -> None:
            try:
                raise ValueError(name)
            except ValueError:
                logging.getLogger(name).exception("trouble")

        tell("django_retrytasks", LOCAL)
        tell("shop", "a variable of the site's")

        assert messages(sentry) == ["trouble", "trouble"]
        assert LOCAL not in sentry.text
        assert "a variable of the site's" in sentry.text

    def test_about_a_call_that_failed_for_good_are_events_still(
        self, driver: Driver, sentry: Sent
    ) -> None:
        task_failed.connect(refuses)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        about = [event["extra"]["task_name"] for event in sentry.events if "logentry" in event]
        assert about == ["django_retrytasks.alerts.announcements.call_receiver"]


class TestAttempts:
    def test_that_are_retried_are_warnings_of_the_same_issue_when_asked_for(
        self, driver: Driver, sentry: Sent
    ) -> None:
        attempt_failed.connect(capture_attempt)
        tasks.fails_at_once_again.enqueue()

        driver.drain()

        told = [(event["level"], event["tags"]["attempt"]) for event in sentry.events]
        assert told == [("warning", "1"), ("warning", "2"), ("warning", "3"), ("error", "4")]
        assert "stop_reason" not in sentry.events[0]["tags"]
        assert len({tuple(event["fingerprint"]) for event in sentry.events}) == 1
        assert len({event["contexts"]["trace"]["trace_id"] for event in sentry.events}) == 1


def messages(sentry: Sent) -> list[str]:
    """Return the messages, not yet formatted, of the log lines that the events were made of."""
    return [event["logentry"]["message"] for event in sentry.events]
