"""Secrets stay out of an event in Sentry."""

from __future__ import annotations

import time
from typing import Any

import pytest
import sentry_sdk

from django_retrytasks.alerts.sentry import connect
from django_retrytasks.models import Status, Task
from tests.alerts.sentry.stage import LOCAL, SECRET, Sent, exceptions, initialised, pays
from tests.support.driver import Driver
from tests.tasks.secret_arguments import APOSTROPHE, LINES, QUOTED, WAYS, empties, raises

pytestmark = pytest.mark.django_db


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
