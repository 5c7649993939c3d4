"""When Sentry is connected, what its trouble harms, and what a cluster sends it."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sentry_sdk
from django.apps import apps
from sentry_sdk.envelope import Envelope

from django_retrytasks import retry_task
from django_retrytasks.alerts.sentry import capture_failure, connect
from django_retrytasks.models import Status, Task
from django_retrytasks.signals import attempt_failed
from django_retrytasks.values.contract import task_finished
from django_retrytasks.worker import telling
from tests.alerts.sentry.stage import SECRET, Sent, initialised, pays
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, wait_for
from tests.support.driver import Driver, received
from tests.support.http_receiver import Receiver, Send, receiving, status

pytestmark = pytest.mark.django_db

# The SDK keeps its connections, and this server does not.
CLOSE = status(200, Connection="close")


class Hanging(Exception):
    @property
    def message(self) -> str:
        time.sleep(20)
        return SECRET


@retry_task(max_retries=0)
def hangs_when_asked() -> None:
    raise Hanging


class TestTrouble:
    def test_of_the_transport_is_logged_and_harms_nothing(
        self, driver: Driver, sentry: Sent, caplog: pytest.LogCaptureFixture
    ) -> None:
        sentry.trouble = ConnectionError(SECRET)
        result = tasks.fails_once_for_all.enqueue()

        with received(task_finished) as finished:
            driver.drain()

        assert driver.row(result).status == Status.FAILED
        assert [call["task_result"].id for call in finished] == [result.id]
        said = f"Task {result.id}: no event for Sentry: builtins.ConnectionError"
        assert said in [record.getMessage() for record in caplog.records]
        assert SECRET not in caplog.text

    def test_with_what_hangs_is_over_in_time(
        self, driver: Driver, sentry: Sent, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(telling, "TELLING", 0.3)
        first, second = hangs_when_asked.enqueue(), tasks.fails_once_for_all.enqueue()
        began = time.monotonic()

        driver.drain()

        assert time.monotonic() - began < 15
        assert [driver.row(each).status for each in (first, second)] == [Status.FAILED] * 2
        assert [event["transaction"] for event in sentry.events if "exception" in event] == [
            "tests.support.tasks.fails_once_for_all"
        ]

    @pytest.mark.parametrize("options", [{"dsn": None}, {"before_send": lambda event, hint: None}])
    def test_is_none_where_nothing_is_to_be_sent(
        self, driver: Driver, options: dict[str, Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        sentry_sdk.init(default_integrations=False, **options)
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert "no event for Sentry" not in caplog.text

    def test_is_none_where_sentry_has_been_closed(
        self, driver: Driver, sentry: Sent, caplog: pytest.LogCaptureFixture
    ) -> None:
        sentry_sdk.get_client().close()
        sentry_sdk.Scope.get_global_scope().set_client(None)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert sentry.events == []
        assert "no event for Sentry" not in caplog.text


class TestConnection:
    def test_is_made_when_django_starts(self) -> None:
        initialised()

        apps.get_app_config("retrytasks").ready()

        assert is_connected()

    def test_is_made_once(self, driver: Driver, sentry: Sent) -> None:
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(sentry.events) == 1

    def test_is_not_made_where_the_site_does_not_want_it(self, settings: Any) -> None:
        settings.RETRYTASKS = {"SENTRY": False}
        initialised()

        apps.get_app_config("retrytasks").ready()

        assert not is_connected()

    def test_is_not_made_where_nobody_initialised_sentry(self) -> None:
        apps.get_app_config("retrytasks").ready()

        assert not is_connected()

    def test_is_not_made_with_an_old_sentry(self, monkeypatch: pytest.MonkeyPatch) -> None:
        initialised()
        monkeypatch.delattr(sentry_sdk, "is_initialized")

        apps.get_app_config("retrytasks").ready()

        assert not is_connected()

    def test_does_not_import_sentry_where_nobody_has(self) -> None:
        code = "import django, sys; django.setup(); print('sentry_sdk' in sys.modules)"
        found = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, check=True, text=True
        )

        assert found.stdout.strip() == "False"


@pytest.mark.cluster
@pytest.mark.django_db(transaction=True)
class TestCluster:
    def test_sends_one_event_with_all_of_sentry_s_integrations(self, tmp_path: Path) -> None:
        with receiving() as server, running_cluster(tmp_path / "log", **telling_of(server)):
            server.answers = [CLOSE] * 2
            tasks.fails_soon_again.enqueue()
            pays.enqueue(card=SECRET, password=SECRET, amount=3)
            wait_for(is_idle)
            wait_for(lambda: len(events(server)) == 2)

        told = sorted((event["transaction"], event["level"]) for event in events(server))
        assert told == [
            ("tests.alerts.sentry.stage.pays", "error"),
            ("tests.support.tasks.fails_soon_again", "error"),
        ]
        assert SECRET not in json.dumps(events(server))

    def test_sends_what_is_left_when_its_workers_end(self, tmp_path: Path) -> None:
        log, are_ending = tmp_path / "log", Event()

        def answer(send: Send, over: Event) -> None:
            are_ending.wait(30)
            CLOSE(send, over)

        with receiving() as server, running_cluster(log, **telling_of(server)) as cluster:
            server.answers = [answer] * 10
            results = tasks.fails_once_for_all.enqueue_many([()] * 10)
            wait_for(is_idle)
            cluster.process.terminate()
            wait_for(lambda: log.read_bytes().count(b"stopped doing work") == 2)
            are_ending.set()
            assert cluster.wait(30)

        told = [event["contexts"]["task"]["id"] for event in events(server)]
        assert sorted(told) == sorted(result.id for result in results)


def telling_of(server: Receiver) -> dict[str, str]:
    """Return the environment of a cluster with Sentry at this server."""
    dsn = server.url("/1").replace("//", "//key@", 1)
    return {"DJANGO_SETTINGS_MODULE": "tests.support.settings.sentry", "SENTRY_DSN": dsn}


def events(server: Receiver) -> list[dict[str, Any]]:
    envelopes = [Envelope.deserialize(gzip.decompress(each.body)) for each in server.posted]
    return [dict(event) for envelope in envelopes if (event := envelope.get_event())]


def is_connected() -> bool:
    return any(capture_failure in found for found in attempt_failed._live_receivers(Task))
