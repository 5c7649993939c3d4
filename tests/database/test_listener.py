"""Listening for PostgreSQL's notifications while the server does not let us."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection

from django_retrytasks.database.listener import Listener

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(
        connection.vendor != "postgresql", reason="only PostgreSQL sends notifications"
    ),
]


@pytest.fixture
def listener() -> Iterator[Listener]:
    with closing(Listener("default", "retrytasks_test")) as listener:
        yield listener


def notify(channel: str = "retrytasks_test") -> None:
    own: Any = connection.copy()
    with closing(own), own.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, 'anything')", [channel])


def test_a_wait_ends_with_a_notification_and_else_when_its_time_is_over(listener: Listener) -> None:
    listener.listen()
    notify()
    notify("another")

    assert listener.wait(20)
    began = time.monotonic()
    assert not listener.wait(0.2)
    assert time.monotonic() - began >= 0.2


def test_nothing_is_heard_in_a_pause(listener: Listener) -> None:
    listener.listen()
    listener.pause()
    notify()
    listener.listen()

    assert not listener.wait(0.1)


def test_without_a_connection_it_sleeps_and_warns_once(
    listener: Listener, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(connection.settings_dict, "NAME", "no_such_database")
    began = time.monotonic()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            listener.listen()
            assert not listener.wait(0.1)

    assert time.monotonic() - began >= 0.3
    [message] = caplog.messages
    assert message.startswith("No notification is heard, so the cluster polls: ")
    assert "no_such_database" in message


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_leaves_its_parents_connection_alone(listener: Listener) -> None:
    listener.listen()
    if not (child := os.fork()):
        heard = False
        try:
            listener.close()
            listener.listen()
            notify()
            heard = listener.wait(20)
        finally:
            os._exit(not heard)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert listener.wait(20)
    notify()
    assert listener.wait(20)
