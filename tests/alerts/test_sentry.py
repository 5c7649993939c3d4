"""A final failure is one event in Sentry, and nothing else is."""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import pytest
import sentry_sdk
from django.apps import apps
from django.utils import timezone
from django.utils.module_loading import import_string
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import HttpTransport, Transport

from django_retrytasks import lifecycle, retry_task
from django_retrytasks.alerts.sentry import capture_attempt, capture_failure, connect
from django_retrytasks.errors.reports import ErrorReport
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.signals import attempt_failed, task_failed
from tests.support import tasks
from tests.support.cluster import is_idle, running_cluster, wait_for
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db

SECRET = "correct horse battery staple"
LOCAL = "a local variable's value"
FAR = 'Traceback (most recent call last):\n  File "/far.py", line 1, in f'


# ---- tasks


@retry_task(max_retries=0, sensitive=("card",))
def pays(card: str, password: str, amount: int) -> None:
    spelled_backwards = LOCAL[::-1]
    assert spelled_backwards != LOCAL
    raise ValueError(f"refused: {card=} {password=}")


@retry_task(max_retries=0)
def raises_in_turn() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise OSError("second") from error
    except OSError:
        raise ExceptionGroup("third", [ValueError("of two"), TypeError("lines")])  # noqa: B904


@retry_task(max_retries=0)
def raises_with_notes() -> None:
    error = LookupError()
    error.add_note("It was not there.")
    raise error


@retry_task(max_retries=0)
def raises_through_the_library() -> None:
    import_string("no_such_module.function")


@retry_task(max_retries=0)
def quotes_a_traceback() -> None:
    raise RuntimeError(
        'it said:\nTraceback (most recent call last):\n  File "/far.py", line 1, in f'
    )


@retry_task(max_retries=0)
def goes_too_deep() -> None:
    down(1)


def down(depth: int) -> None:
    up(depth + 1)


def up(depth: int) -> None:
    down(depth + 1)


# ---- Sentry's end


class Server(ThreadingHTTPServer):
    """Sentry as the SDK sees it, on this machine: keeps what it is sent.

    Attributes:
        bodies: of all requests, unpacked.
        refusals: statuses to answer the next requests with; 200 after them.
        may_answer: no request is answered while it is not set.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies: list[bytes] = []
        self.refusals: list[int] = []
        self.may_answer = Event()
        self.may_answer.set()

    @property
    def dsn(self) -> str:
        return f"http://key@127.0.0.1:{self.server_port}/1"

    @property
    def events(self) -> list[dict[str, Any]]:
        envelopes = map(Envelope.deserialize, list(self.bodies))
        return [dict(event) for one in envelopes if (event := one.get_event())]

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield self
        finally:
            self.may_answer.set()
            self.shutdown()
            thread.join()
            self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Encoding"] == "gzip"
        self.server.bodies.append(gzip.decompress(body))
        self.server.may_answer.wait(20)
        self.send_response(self.server.refusals.pop(0) if self.server.refusals else 200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args: Any) -> None:
        """Print nothing."""


class Keeping(Transport):
    """A transport of a site's own, with nothing but what Sentry asks of one."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.envelopes: list[Envelope] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)


class Counting(HttpTransport):
    """A transport of a site's own that hears of what is dropped."""

    heard: list[str]

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.heard = []

    def on_dropped_event(self, reason: str) -> None:
        self.heard.append(reason)


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
    task_failed.disconnect(capture_failure)
    task_failed.disconnect(refuses)
    attempt_failed.disconnect(capture_attempt)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server().running() as server:
        yield server


@pytest.fixture
def sentry(server: Server) -> Server:
    initialise(server)
    connect()
    return server


def initialise(server: Server, **options: Any) -> None:
    sentry_sdk.get_client().close(timeout=0)
    # The other integrations change Django for good: the cluster's process has them.
    sentry_sdk.init(
        server.dsn, default_integrations=False, integrations=[LoggingIntegration()], **options
    )


def exceptions(sentry: Server) -> list[dict[str, Any]]:
    """Return the exceptions of the one event, the first one first."""
    [event] = sentry.events
    found: list[dict[str, Any]] = event["exception"]["values"]
    return found


def run_until_refused(driver: Driver) -> list[Attempt]:
    """Run what is due until an event was not taken; return the attempts to send one."""
    refused = Attempt.objects.filter(task__internal=True, outcome=Attempt.Outcome.FAILED)
    for _ in range(10):
        driver.make_due(*Task.objects.unfinished())
        driver.run_due()
        if found := list(refused.all()):
            return found
    raise AssertionError("all events were taken")


class TestFinalFailure:
    def test_is_one_event_however_many_attempts_failed(
        self, driver: Driver, sentry: Server, caplog: pytest.LogCaptureFixture
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

    def test_is_none_while_it_is_retried(self, driver: Driver, sentry: Server) -> None:
        result = tasks.always_fails.enqueue()

        for _ in range(3):
            driver.attempt(result)
        driver.run_due()

        sentry_sdk.flush()
        assert driver.row(result).status == Status.RETRYING
        assert sentry.events == []

    def test_is_told_in_full(self, driver: Driver, sentry: Server) -> None:
        result = tasks.fails_at_once_again.using(queue_name="mail").enqueue()

        driver.drain()

        task, attempt = driver.row(result), driver.attempts(result)[-1]
        [event] = sentry.events
        told = (event["level"], event["logger"], event["transaction"], event["platform"])
        assert told == ("error", "django_retrytasks", task.name, "python")
        assert event["fingerprint"] == [str(task.failure_group_id)]
        assert task.failure_group_id is not None
        assert event["tags"] == {
            "task": "tests.support.tasks.fails_at_once_again",
            "queue_name": "mail",
            "stop_reason": "MAX_RETRIES",
            "attempt": "4",
        }
        assert event["contexts"]["task"] == {
            "id": result.id,
            "worker": attempt.worker,
            "retry_count": 3,
            "arguments": {},
        }
        assert event["contexts"]["trace"]["trace_id"] == task.pk.hex
        assert event["server_name"] == attempt.worker.split(":")[0]
        assert datetime.fromisoformat(event["timestamp"]) == in_utc(attempt.finished_at)

    def test_shows_the_arguments_by_name(self, driver: Driver, sentry: Server) -> None:
        tasks.always_fails.using(max_retries=0).enqueue("no server")

        driver.drain()

        [event] = sentry.events
        assert event["contexts"]["task"]["arguments"] == {"message": "no server"}

    def test_has_nothing_of_what_the_process_was_at_before(
        self, driver: Driver, sentry: Server
    ) -> None:
        sentry_sdk.set_tag("customer", "another")
        sentry_sdk.set_user({"id": "another"})
        sentry_sdk.add_breadcrumb(message="another")
        sentry_sdk.Scope.get_global_scope().set_tag("site", "shop")
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert b"another" not in b"".join(sentry.bodies)
        [event] = sentry.events
        assert event["tags"]["site"] == "shop"

    def test_names_no_secret_and_no_local_variable(self, driver: Driver, sentry: Server) -> None:
        result = pays.enqueue(card=f"card: {SECRET}", password=SECRET, amount=3)

        driver.drain()

        [event] = sentry.events
        sent = b"".join(sentry.bodies)
        assert event["contexts"]["task"]["arguments"]["amount"] == 3
        assert set(event["contexts"]["task"]["arguments"]) == {"card", "password", "amount"}
        assert event["exception"]["values"][-1]["value"].startswith("refused: card=")
        assert driver.row(result).kwargs["password"] == SECRET
        assert SECRET.encode() not in sent
        assert LOCAL.encode() not in sent
        assert LOCAL[::-1].encode() not in sent
        assert b'"vars"' not in sent

    def test_of_a_lost_worker_has_no_frames(self, driver: Driver, sentry: Server) -> None:
        result = tasks.echoes.using(max_retries=0).enqueue()
        driver.claim(by="far:7:gone")
        driver.make_due(result)

        driver.drain()

        [event] = sentry.events
        [exception] = event["exception"]["values"]
        assert (exception["type"], exception["module"]) == (
            "WorkerLost",
            "django_retrytasks.exceptions",
        )
        assert "far:7:gone" in exception["value"]
        assert "stacktrace" not in exception
        assert event["server_name"] == "far"


class TestExceptions:
    def test_have_the_frames_of_the_traceback(self, driver: Driver, sentry: Server) -> None:
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        [exception] = exceptions(sentry)
        assert (exception["type"], exception["value"]) == ("ValueError", "not today")
        *ours, innermost = exception["stacktrace"]["frames"]
        assert innermost == {
            "filename": tasks.__file__,
            "function": "fails_once_for_all",
            "lineno": line_of(tasks.__file__, 'raise ValueError("not today")'),
            "context_line": 'raise ValueError("not today")',
            "in_app": True,
        }
        assert {frame["in_app"] for frame in ours} == {False}

    def test_tell_the_site_s_code_from_libraries(self, driver: Driver, sentry: Server) -> None:
        raises_through_the_library.enqueue()

        driver.drain()

        frames = exceptions(sentry)[-1]["stacktrace"]["frames"]
        own = [frame["function"] for frame in frames if frame["in_app"]]
        assert own == ["raises_through_the_library"]
        assert {"import_string", "_find_and_load"} <= {frame["function"] for frame in frames}

    def test_are_told_from_the_first_cause_to_the_last(
        self, driver: Driver, sentry: Server
    ) -> None:
        raises_in_turn.enqueue()

        driver.drain()

        first, second, third = exceptions(sentry)
        assert (first["type"], first["value"]) == ("KeyError", "'first'")
        assert (second["type"], second["value"]) == ("OSError", "second")
        assert (third["type"], third["value"].splitlines()[0]) == (
            "ExceptionGroup",
            "third (2 sub-exceptions)",
        )
        assert "ValueError: of two" in third["value"]
        assert "TypeError: lines" in third["value"]
        assert [one["stacktrace"]["frames"][-1]["context_line"] for one in (first, second)] == [
            'raise KeyError("first")',
            'raise OSError("second") from error',
        ]
        assert third["stacktrace"]["frames"][-1]["function"] == "raises_in_turn"

    def test_keep_their_notes(self, driver: Driver, sentry: Server) -> None:
        raises_with_notes.enqueue()

        driver.drain()

        [exception] = exceptions(sentry)
        assert (exception["type"], exception["value"]) == ("LookupError", "It was not there.")

    def test_take_no_frame_from_a_message(self, driver: Driver, sentry: Server) -> None:
        quotes_a_traceback.enqueue()

        driver.drain()

        [exception] = exceptions(sentry)
        assert exception["stacktrace"]["frames"][-1]["function"] == "quotes_a_traceback"
        assert '"/far.py"' in exception["value"]

    def test_have_both_ends_of_a_traceback_cut_in_the_middle(
        self, driver: Driver, sentry: Server
    ) -> None:
        result = goes_too_deep.enqueue()

        driver.drain()

        assert "characters left out" in driver.attempts(result)[-1].traceback
        exception = exceptions(sentry)[-1]
        functions = [frame["function"] for frame in exception["stacktrace"]["frames"]]
        assert exception["type"] == "RecursionError"
        assert "goes_too_deep" in functions[:10]
        assert functions[-1] in ("down", "up")
        assert len(functions) > 300

    def test_without_a_traceback_are_named_all_the_same(
        self, driver: Driver, sentry: Server
    ) -> None:
        tasks.echoes.enqueue()
        [task] = driver.claim().tasks
        error = ErrorReport(
            class_path="shop.Odd", message="odd", traceback="<the traceback cannot be shown>"
        )
        lifecycle.settle([driver.ending(task, Attempt.Outcome.FAILED, error=error)])

        driver.drain()

        assert exceptions(sentry) == [{"type": "Odd", "module": "shop", "value": "odd"}]

    def test_of_a_class_within_a_function_have_its_name(
        self, driver: Driver, sentry: Server
    ) -> None:
        tasks.raises_exception_with_broken_str.enqueue()

        driver.drain()

        [exception] = exceptions(sentry)
        assert exception["type"] == "Broken"
        assert (
            exception["module"] == "tests.support.tasks.raises_exception_with_broken_str.<locals>"
        )


class TestDelivery:
    def test_is_tried_again_with_the_same_id_when_sentry_refuses(
        self, driver: Driver, sentry: Server
    ) -> None:
        sentry.refusals = [503]
        tasks.fails_once_for_all.enqueue()

        [attempt] = run_until_refused(driver)
        driver.drain()

        assert attempt.exception_class_path == "builtins.ConnectionError"
        assert "status_503" in attempt.exception_message
        first, second = sentry.events
        assert first["event_id"] == second["event_id"]

    def test_is_tried_again_when_sentry_cannot_be_reached(
        self, driver: Driver, server: Server
    ) -> None:
        with Server().running() as gone:
            initialise(gone)
        connect()
        tasks.fails_once_for_all.enqueue()

        [attempt] = run_until_refused(driver)
        initialise(server)
        driver.drain()

        assert "network" in attempt.exception_message
        assert len(server.events) == 1

    def test_waits_for_a_sentry_that_is_slow(self, driver: Driver, server: Server) -> None:
        initialise(server, shutdown_timeout=20)
        connect()
        server.may_answer.clear()
        tasks.fails_once_for_all.enqueue()

        answer = Timer(0.5, server.may_answer.set)
        answer.start()
        driver.drain()

        answer.join()
        assert outcomes_of_calls() == ["SUCCEEDED"]
        assert len(server.events) == 1

    def test_is_tried_again_when_sentry_does_not_answer(
        self, driver: Driver, server: Server
    ) -> None:
        initialise(server, shutdown_timeout=0.2)
        connect()
        server.may_answer.clear()
        tasks.fails_once_for_all.enqueue()

        [attempt] = run_until_refused(driver)
        server.may_answer.set()
        driver.drain()

        assert attempt.exception_class_path == "builtins.TimeoutError"
        assert len({event["event_id"] for event in server.events}) == 1

    def test_does_not_wait_where_sentry_s_queue_is_full(
        self, driver: Driver, server: Server
    ) -> None:
        initialise(server, shutdown_timeout=600, transport_queue_size=1)
        connect()
        server.may_answer.clear()
        sentry_sdk.capture_message("on its way")
        wait_for(lambda: server.bodies)
        sentry_sdk.capture_message("waits for the first one")
        tasks.fails_once_for_all.enqueue()

        [attempt] = run_until_refused(driver)
        server.may_answer.set()

        assert "full_queue" in attempt.exception_message

    def test_is_over_when_the_site_drops_the_event(self, driver: Driver, server: Server) -> None:
        initialise(server, before_send=lambda event, hint: None)
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert server.events == []
        assert set(outcomes_of_calls()) == {"SUCCEEDED"}

    def test_is_over_where_sentry_has_no_address(self, driver: Driver) -> None:
        sentry_sdk.init(default_integrations=False)
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert outcomes_of_calls() == ["SUCCEEDED"]

    def test_is_over_where_sentry_has_been_closed(self, driver: Driver, sentry: Server) -> None:
        sentry_sdk.get_client().close()
        sentry_sdk.Scope.get_global_scope().set_client(None)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert outcomes_of_calls() == ["SUCCEEDED"]
        assert sentry.events == []

    def test_uses_a_transport_that_tells_of_nothing(self, driver: Driver, server: Server) -> None:
        initialise(server, transport=Keeping)
        connect()
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        transport = sentry_sdk.get_client().transport
        assert isinstance(transport, Keeping)
        assert len(transport.envelopes) == 1

    def test_leaves_a_transport_as_it_was(self, driver: Driver, server: Server) -> None:
        initialise(server, transport=Counting)
        connect()
        transport = sentry_sdk.get_client().transport
        assert isinstance(transport, Counting)
        before = transport.on_dropped_event
        server.refusals = [503]
        tasks.fails_once_for_all.enqueue()

        run_until_refused(driver)

        transport.on_dropped_event("later")
        assert transport.on_dropped_event == before
        assert transport.heard == ["status_503", "later"]

    def test_has_another_id_for_another_drive(self, driver: Driver, sentry: Server) -> None:
        result = tasks.fails_once_for_all.enqueue()
        driver.drain()
        lifecycle.redrive([uuid.UUID(result.id)])

        driver.drain()

        first, second = sentry.events
        assert first["event_id"] != second["event_id"]
        assert first["fingerprint"] == second["fingerprint"]


class TestLogLines:
    def test_of_other_loggers_are_events_still(self, sentry: Server) -> None:
        logging.getLogger("shop").error("out of stock")

        assert messages(sentry) == ["out of stock"]

    def test_about_trouble_of_our_own_are_events_still(self, sentry: Server) -> None:
        logging.getLogger("django_retrytasks").error("Cluster frozen: key=%s", "shop")

        assert messages(sentry) == ["Cluster frozen: key=%s"]

    def test_of_our_own_show_no_local_variables(self, sentry: Server) -> None:
        def tell(name: str, told: str) -> None:
            try:
                raise ValueError(name)
            except ValueError:
                logging.getLogger(name).exception("trouble")

        tell("django_retrytasks", LOCAL)
        tell("shop", "a variable of the site's")

        assert messages(sentry) == ["trouble", "trouble"]
        sent = b"".join(sentry.bodies)
        assert LOCAL.encode() not in sent
        assert b"a variable of the site's" in sent

    def test_about_a_call_that_failed_for_good_are_events_still(
        self, driver: Driver, sentry: Server
    ) -> None:
        task_failed.connect(refuses)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        sentry_sdk.flush()
        about = [event["extra"]["task_name"] for event in sentry.events if "logentry" in event]
        assert about == ["django_retrytasks.alerts.announcements.call_receiver"]


class TestAttempts:
    def test_that_are_to_be_retried_are_warnings_when_asked_for(
        self, driver: Driver, sentry: Server
    ) -> None:
        attempt_failed.connect(capture_attempt)
        tasks.fails_at_once_again.enqueue()

        driver.drain()

        sentry_sdk.flush()
        told = [(event["level"], event["tags"]["attempt"]) for event in sentry.events]
        assert told == [("warning", "1"), ("warning", "2"), ("warning", "3"), ("error", "4")]
        assert "stop_reason" not in sentry.events[0]["tags"]
        assert len({event["event_id"] for event in sentry.events}) == 4

    def test_are_of_one_issue_with_the_final_failure(self, driver: Driver, sentry: Server) -> None:
        attempt_failed.connect(capture_attempt)
        tasks.fails_at_once_again.enqueue()

        driver.drain()

        sentry_sdk.flush()
        assert len({tuple(event["fingerprint"]) for event in sentry.events}) == 1
        assert len({event["contexts"]["trace"]["trace_id"] for event in sentry.events}) == 1


class TestConnection:
    def test_is_made_when_django_starts(self, server: Server) -> None:
        initialise(server)

        apps.get_app_config("retrytasks").ready()

        assert is_connected()

    def test_is_made_once(self, driver: Driver, sentry: Server) -> None:
        connect()
        task_failed.connect(capture_failure)
        tasks.fails_once_for_all.enqueue()

        driver.drain()

        assert len(sentry.events) == 1

    def test_is_not_made_where_the_site_does_not_want_it(
        self, server: Server, settings: Any
    ) -> None:
        settings.RETRYTASKS = {"SENTRY": False}
        initialise(server)

        apps.get_app_config("retrytasks").ready()

        assert not is_connected()

    def test_is_not_made_where_nobody_initialised_sentry(self) -> None:
        apps.get_app_config("retrytasks").ready()

        assert not is_connected()

    def test_is_not_made_with_an_old_sentry(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        initialise(server)
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
    def test_sends_one_event_with_all_of_sentry_s_integrations(
        self, server: Server, tmp_path: Path
    ) -> None:
        with running_cluster(
            tmp_path / "log",
            DJANGO_SETTINGS_MODULE="tests.support.settings.sentry",
            SENTRY_DSN=server.dsn,
        ):
            server.refusals = [503]
            tasks.fails_soon_again.enqueue()
            pays.enqueue(card=SECRET, password=SECRET, amount=3)
            wait_for(is_idle)

        by_id = {event["event_id"]: event for event in server.events}
        told = sorted((event["tags"]["task"], event["level"]) for event in by_id.values())
        assert told == [
            ("tests.support.tasks.fails_soon_again", "error"),
            ("tests.alerts.test_sentry.pays", "error"),
        ]
        assert len(server.events) == 3
        assert SECRET.encode() not in b"".join(server.bodies)


def refuses(**details: Any) -> None:
    raise PermissionError("not for us")


def is_connected() -> bool:
    return any(capture_failure in found for found in task_failed._live_receivers(Task))


def outcomes_of_calls() -> list[str]:
    calls = Attempt.objects.filter(
        task__name="django_retrytasks.alerts.announcements.call_receiver"
    )
    return list(calls.values_list("outcome", flat=True))


def messages(sentry: Server) -> list[str]:
    """Return the messages, not yet formatted, of the log lines that the events were made of."""
    sentry_sdk.flush()
    return [event["logentry"]["message"] for event in sentry.events]


def line_of(path: str | None, text: str) -> int:
    """Return the number of the first line of a file that has this text."""
    lines = Path(path or "").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def in_utc(stored: datetime) -> datetime:
    return stored if timezone.is_aware(stored) else timezone.make_aware(stored)
