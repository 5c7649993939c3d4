"""A final failure is one event in Sentry, and nothing else is."""

from __future__ import annotations

import gzip
import json
import logging
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import sentry_sdk
from django.apps import apps
from django_q.conf import Conf
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from django_retrytasks import lifecycle, retry_task
from django_retrytasks.alerts.sentry import capture_attempt, capture_failure, connect
from django_retrytasks.models import Status, Task
from django_retrytasks.signals import attempt_failed, task_failed
from django_retrytasks.values.contract import task_finished
from django_retrytasks.worker import batch, telling
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, wait_for
from tests.support.driver import Driver, received
from tests.support.http_receiver import Receiver, Send, receiving, status
from tests.tasks.secret_arguments import APOSTROPHE, LINES, QUOTED, WAYS, empties, raises

pytestmark = pytest.mark.django_db

SECRET = "correct horse battery staple"
LOCAL = "a local variable's value"


# What a task may raise.


@retry_task(max_retries=0, sensitive=("card",))
def pays(card: Any, password: str = "", amount: int = 0, note: Any = None) -> None:
    spelled_backwards = LOCAL[::-1]
    assert spelled_backwards != LOCAL
    raise OSError(card, f"refused: {card=} {password=}")


@retry_task(max_retries=0)
def raises_in_turn() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise OSError("second") from error
    except OSError:
        raise ExceptionGroup("third", [ValueError("of two"), TypeError("lines")])  # noqa: B904


@retry_task(max_retries=0, sensitive=("text",))
def resists(how: str, text: str) -> None:
    RESISTING[how](text)


class NotForShow(Exception):
    def __str__(self) -> str:
        raise SystemExit(SECRET)


class Deceptive(Exception):
    @property
    def message(self) -> str:
        raise RuntimeError(SECRET)


class Hanging(Exception):
    @property
    def message(self) -> str:
        time.sleep(20)
        return SECRET


def raise_in_a_circle(text: str) -> None:
    one, other = ValueError("one"), ValueError(text)
    one.__cause__, other.__cause__ = other, one
    raise one


def raise_one_of_many(text: str) -> None:
    raise_from_many(text, 2000)


def raise_after_many(text: str) -> None:
    raise_from_many(text, 900)


def raise_from_many(text: str, count: int) -> None:
    error: Exception = ValueError(text)
    for number in range(count):
        try:
            raise error
        except ValueError:
            error = ValueError(f"{number} {text}")
            error.__context__ = sys.exception()
    raise error


def raise_at_length(text: str) -> None:
    raise ValueError(f"{'x' * 4000}{text} " * 500)


def raise_from_deep_down(text: str, depth: int = 0) -> None:
    raise_from_deep_down(text, depth + 1)


def raise_from_deeper_down(text: str) -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(before + 2500)
    try:
        raise_from_deep_down(text)
    finally:
        sys.setrecursionlimit(before)


def raise_what_was_cut(text: str) -> None:
    raise ValueError(f"{text[:9]}\n[... 19 characters left out ...]\n")


def raise_of_a_class_of_its_own(text: str) -> None:
    raise type(f"Class of {text}", (Exception,), {})(text)


def raise_what_is_not_for_show(text: str) -> None:
    raise NotForShow(text)


def raise_what_deceives(text: str) -> None:
    raise Deceptive(text)


RESISTING = {
    function.__name__.removeprefix("raise_"): function
    for function in (
        raise_in_a_circle,
        raise_one_of_many,
        raise_after_many,
        raise_at_length,
        raise_from_deep_down,
        raise_from_deeper_down,
        raise_what_was_cut,
        raise_of_a_class_of_its_own,
        raise_what_is_not_for_show,
        raise_what_deceives,
    )
}


@retry_task(max_retries=0)
def hangs_when_asked() -> None:
    raise Hanging


class Sent(Transport):
    """Keeps what would go to Sentry, or raises what it is told to."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Envelope] = []
        self.trouble: BaseException | None = None

    def capture_envelope(self, envelope: Envelope) -> None:
        if self.trouble:
            raise self.trouble
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(event) for one in self.envelopes if (event := one.get_event())]

    @property
    def text(self) -> str:
        """Return all that was sent, with no character escaped."""
        return json.dumps(self.events, ensure_ascii=False)


@pytest.fixture(scope="module", autouse=True)
def _unpatched_logging() -> Iterator[None]:
    """Take away what Sentry's logging integration leaves behind."""
    before = logging.Logger.callHandlers
    yield
    logging.Logger.callHandlers = before  # type: ignore[method-assign]


@pytest.fixture(autouse=True)
def _no_sentry(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[None]:
    """Let each test start without Sentry, and leave this process as it was."""
    settings.RETRYTASKS = {"ALERTS": []}
    monkeypatch.setattr("sentry_sdk.scope._global_scope", None)
    monkeypatch.setattr("sentry_sdk.integrations.logging._IGNORED_LOGGERS", set())
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        yield
    sentry_sdk.get_client().close(timeout=0)
    attempt_failed.disconnect(capture_failure)
    attempt_failed.disconnect(capture_attempt)
    task_failed.disconnect(refuses)


@pytest.fixture
def sentry() -> Sent:
    sent = initialised()
    connect()
    return sent


def initialised(**options: Any) -> Sent:
    sent = Sent()
    # The other integrations change Django for good: the cluster's process has them.
    own: dict[str, Any] = {"default_integrations": False, "integrations": [LoggingIntegration()]}
    sentry_sdk.init("http://key@127.0.0.1:9/1", transport=sent, **(own | options))
    return sent


def exceptions(sentry: Sent) -> list[dict[str, Any]]:
    """Return the exceptions of the one event, the first one first."""
    [event] = sentry.events
    found: list[dict[str, Any]] = event["exception"]["values"]
    return found


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


class TestExceptions:
    def test_have_the_frames_of_the_traceback(self, driver: Driver, sentry: Sent) -> None:
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        [exception] = exceptions(sentry)
        assert (exception["type"], exception["value"]) == ("ValueError", "not today")
        innermost = exception["stacktrace"]["frames"][-1]
        assert innermost["function"] == "fails_once_for_all"
        assert innermost["context_line"] == '    raise ValueError("not today")'
        assert innermost["lineno"] == tasks.fails_once_for_all.func.__code__.co_firstlineno + 2

    def test_have_no_frames_but_those_of_the_attempt(self, driver: Driver) -> None:
        sent = initialised(add_full_stack=True)
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        [exception] = exceptions(sent)
        assert exception["stacktrace"]["frames"][0]["function"] == "_run"

    def test_are_told_from_the_first_cause_to_the_last(self, driver: Driver, sentry: Sent) -> None:
        raises_in_turn.enqueue()

        driver.drain()

        told = [(one["type"], one["value"]) for one in exceptions(sentry)]
        assert told[-1] == ("ExceptionGroup", "third")
        assert set(told[:-1]) == {
            ("KeyError", "'first'"),
            ("OSError", "second"),
            ("ValueError", "of two"),
            ("TypeError", "lines"),
        }

    @pytest.mark.parametrize("how", RESISTING)
    def test_that_resist_are_an_event_all_the_same(
        self, driver: Driver, sentry: Sent, how: str
    ) -> None:
        result = resists.enqueue(how, SECRET)

        driver.drain()

        assert driver.row(result).status == Status.FAILED
        assert exceptions(sentry)
        assert SECRET not in sentry.text
        assert len(sentry.text) < 1_000_000  # Sentry takes no more

    def test_that_cannot_be_described_are_told_by_their_class(
        self, driver: Driver, sentry: Sent
    ) -> None:
        resists.enqueue("what_deceives", SECRET)

        driver.drain()

        [exception] = exceptions(sentry)
        assert exception["type"] == "MessageUnavailable"
        assert exception["value"] == "tests.alerts.test_sentry.Deceptive: message unavailable"


class TestSecrets:
    def test_are_left_out_and_so_are_local_variables(self, driver: Driver) -> None:
        variables = {"stack_frame_variables": True}
        sent = initialised(
            include_local_variables=True, _experiments={"data_collection": variables}
        )
        connect()
        pays.enqueue(card=SECRET, password=f"{SECRET} 2", amount=3, note={"as": [SECRET]})

        driver.drain()

        arguments = sent.events[0]["contexts"]["task"]["arguments"]
        assert arguments["amount"] == "3"
        assert set(arguments) == {"card", "password", "amount", "note"}
        assert "refused: card=" in exceptions(sent)[-1]["value"]
        for kept_back in (SECRET, LOCAL, LOCAL[::-1], '"vars"'):
            assert kept_back not in sent.text

    def test_that_are_numbers_are_left_out_too(self, driver: Driver, sentry: Sent) -> None:
        pays.enqueue(card=73461957, note=[73461957, {"73461957": 1}])

        driver.drain()

        assert "refused: card=" in exceptions(sentry)[-1]["value"]
        assert "73461957" not in sentry.text

    def test_that_are_words_of_sentry_s_own_do_not_spoil_the_event(
        self, driver: Driver, sentry: Sent
    ) -> None:
        pays.enqueue(card="error", password="exception", note={"values": "task"})

        driver.drain()

        [event] = sentry.events
        assert event["level"] == "error"
        assert event["fingerprint"] == [str(Task.objects.get(internal=False).failure_group_id)]
        assert exceptions(sentry)[-1]["value"].startswith("[Errno ")

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize("secret", [LINES, APOSTROPHE, QUOTED])
    def test_are_found_however_they_are_quoted(
        self, driver: Driver, sentry: Sent, how: str, secret: str
    ) -> None:
        raises.enqueue(how, secret)

        driver.drain()

        assert exceptions(sentry)
        assert "hunter2" not in sentry.text

    def test_that_the_function_took_out_of_its_arguments_are_found(
        self, driver: Driver, sentry: Sent
    ) -> None:
        empties.enqueue({"password": SECRET}, lists=[{"token": "a token of theirs"}])

        driver.drain()

        assert exceptions(sentry)[-1]["value"].startswith("refused: ")
        assert SECRET not in sentry.text
        assert "a token of theirs" not in sentry.text

    def test_are_taken_out_of_what_the_site_adds(self, driver: Driver, sentry: Sent) -> None:
        def add(event: Any, hint: Any) -> Any:
            event["extra"] = {"said": [str(hint["exc_info"][1])], "raised": hint["exc_info"][1]}
            return event

        sentry_sdk.Scope.get_global_scope().add_event_processor(add)
        pays.enqueue(card=SECRET)

        driver.drain()

        assert "refused: card=" in sentry.events[0]["extra"]["said"][0]
        assert SECRET not in sentry.text

    def test_are_not_sent_where_they_cannot_be_taken_out(
        self, driver: Driver, sentry: Sent
    ) -> None:
        def add(event: Any, hint: Any) -> Any:
            event["extra"] = {"said": str(hint["exc_info"][1])}
            event["extra"]["again"] = event["extra"]
            return event

        sentry_sdk.Scope.get_global_scope().add_event_processor(add)
        result = pays.enqueue(card=SECRET)

        driver.drain()

        assert driver.row(result).status == Status.FAILED
        assert sentry.events == []

    def test_by_the_thousand_take_seconds_at_most(self, driver: Driver, sentry: Sent) -> None:
        pays.enqueue(card=[f"{SECRET} {number}" for number in range(3000)])
        began = time.monotonic()

        driver.drain()

        assert time.monotonic() - began < 30
        assert exceptions(sentry)
        assert SECRET not in sentry.text


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
            ("tests.alerts.test_sentry.pays", "error"),
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


# The SDK keeps its connections, and this server does not.
CLOSE = status(200, Connection="close")


def telling_of(server: Receiver) -> dict[str, str]:
    """Return the environment of a cluster with Sentry at this server."""
    dsn = server.url("/1").replace("//", "//key@", 1)
    return {"DJANGO_SETTINGS_MODULE": "tests.support.settings.sentry", "SENTRY_DSN": dsn}


def events(server: Receiver) -> list[dict[str, Any]]:
    envelopes = [Envelope.deserialize(gzip.decompress(each.body)) for each in server.posted]
    return [dict(event) for envelope in envelopes if (event := envelope.get_event())]


def refuses(**details: Any) -> None:
    raise PermissionError("not for us")


def is_connected() -> bool:
    return any(capture_failure in found for found in attempt_failed._live_receivers(Task))


def messages(sentry: Sent) -> list[str]:
    """Return the messages, not yet formatted, of the log lines that the events were made of."""
    return [event["logentry"]["message"] for event in sentry.events]
