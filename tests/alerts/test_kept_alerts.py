"""Under ImmediateBackend alerts are kept and not sent, unless that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sentry_sdk
from django.core.checks import Error, run_checks
from django.test import override_settings
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from django_retrytasks import RetryPolicy
from django_retrytasks.alerts.sentry import capture_attempt, capture_failure, connect
from django_retrytasks.signals import attempt_failed
from django_retrytasks.testing import ImmediateBackend
from django_retrytasks.values.contract import task_backends
from tests.support import tasks
from tests.support.driver import Driver
from tests.support.http_receiver import Receiver
from tests.support.shop import HEAR, heard

pytestmark = [
    pytest.mark.django_db,
    # apprise imports it before Python 3.13.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
]

SINKS = "django_retrytasks.alerts"
PATH = "django_retrytasks.testing.ImmediateBackend"


@pytest.fixture(autouse=True)
def _immediate(settings: Any, receiver: Receiver) -> None:
    use(settings)
    settings.RETRYTASKS = {
        "ALERTS": [
            f"{SINKS}.mail_admins",
            {"sink": f"{SINKS}.mail", "to": ["ann@shop.example"]},
            {"sink": f"{SINKS}.webhook", "url": receiver.url()},
            {"sink": f"{SINKS}.webhook", "name": "chat", "url": receiver.url(), "form": "text"},
            {"sink": f"{SINKS}.apprise", "urls": [receiver.url("/").replace("http", "json", 1)]},
            HEAR,
        ]
    }
    heard.clear()


def use(settings: Any, **options: Any) -> None:
    settings.TASKS = {"default": {"BACKEND": PATH, "QUEUES": [], "OPTIONS": options}}


def backend() -> ImmediateBackend:
    found = task_backends["default"]
    assert isinstance(found, ImmediateBackend)
    return found


class TestSinks:
    def test_keep_what_they_would_have_sent(
        self, receiver: Receiver, mailoutbox: list[Any]
    ) -> None:
        tasks.fails_once_for_all.enqueue()

        subject = "fails_once_for_all failed: ValueError (attempt 1)"
        assert sorted((sink, alert.subject) for sink, alert in backend().alerts) == [
            ("chat", subject),
            (f"{SINKS}.apprise", subject),
            (f"{SINKS}.mail", subject),
            (f"{SINKS}.mail_admins", subject),
            (f"{SINKS}.webhook", subject),
            (HEAR, subject),
        ]
        assert (receiver.posted, mailoutbox, heard) == ([], [], [])

    def test_send_where_that_is_asked_for(
        self, settings: Any, receiver: Receiver, mailoutbox: list[Any]
    ) -> None:
        use(settings, SEND_ALERTS=True)

        tasks.fails_once_for_all.enqueue()

        assert backend().alerts == []
        assert (len(receiver.posted), len(mailoutbox), len(heard)) == (3, 2, 1)

    def test_of_the_real_backend_send(
        self, driver: Driver, settings: Any, receiver: Receiver
    ) -> None:
        settings.TASKS = {"default": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend"}}

        tasks.fails_once_for_all.enqueue()
        driver.drain()

        assert (len(receiver.posted), len(heard)) == (3, 1)

    def test_send_for_an_alias_that_is_gone(self, driver: Driver, settings: Any) -> None:
        settings.TASKS = {"gone": {"BACKEND": "django_retrytasks.backend.RetryTasksBackend"}}
        tasks.fails_once_for_all.using(backend="gone").enqueue()
        use(settings)

        driver.drain()

        assert len(heard) == 1

    def test_do_not_keep_the_log_from_its_line(self, caplog: pytest.LogCaptureFixture) -> None:
        tasks.fails_once_for_all.enqueue()

        lines = [record.getMessage() for record in caplog.records]
        assert lines.count("Alert: fails_once_for_all failed: ValueError (attempt 1)") == 1

    def test_are_kept_with_all_that_they_say(self) -> None:
        tasks.fails_once_for_all.enqueue()

        alert = backend().alerts[0].alert
        assert alert.attempt is not None
        assert alert.text.endswith(alert.attempt.traceback.strip())
        assert alert.as_dict()["count"] == 1

    def test_are_forgotten_when_cleared(self) -> None:
        tasks.fails_once_for_all.enqueue()

        backend().clear()

        assert backend().alerts == []


class Sent(Transport):
    """Keeps what would go to Sentry."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sent]:
    """Yield what takes Sentry's events; leave this process as it was."""
    monkeypatch.setattr("sentry_sdk.scope._global_scope", None)
    monkeypatch.setattr("sentry_sdk.integrations.logging._IGNORED_LOGGERS", set())
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        sent = Sent()
        sentry_sdk.init("http://key@127.0.0.1:9/1", default_integrations=False, transport=sent)
        connect()
        attempt_failed.connect(capture_attempt)
        yield sent
    sentry_sdk.get_client().close(timeout=0)
    attempt_failed.disconnect(capture_failure)
    attempt_failed.disconnect(capture_attempt)


class TestSentry:
    def test_is_sent_nothing(self, sentry: Sent) -> None:
        tasks.always_fails.enqueue()

        assert sentry.envelopes == []

    def test_is_sent_the_failure_where_that_is_asked_for(self, settings: Any, sentry: Sent) -> None:
        use(settings, SEND_ALERTS=True)

        tasks.always_fails.using(max_retries=1).enqueue()

        events = [envelope.get_event() for envelope in sentry.envelopes]
        assert [event["level"] for event in events if event] == ["warning", "error"]


class TestOption:
    def test_stands_beside_those_of_the_policy(self, settings: Any) -> None:
        use(settings, SEND_ALERTS=True, max_retries=1)

        assert RetryPolicy(**backend().policy_options).max_retries == 1
        assert backend().sends_alerts is True

    def test_that_is_no_bool_is_a_check_error(self) -> None:
        options = {"SEND_ALERTS": "yes"}

        with override_settings(TASKS={"default": {"BACKEND": PATH, "OPTIONS": options}}):
            found = run_checks(tags=["retrytasks"])

        assert [error for error in found if error.id == "retrytasks.E011"] == [
            Error(
                "TASKS['default']: SEND_ALERTS must be True or False, not 'yes'",
                hint="Give options of RetryPolicy only, each within its range.",
                id="retrytasks.E011",
            )
        ]
