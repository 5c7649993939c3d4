"""The exceptions of an event in Sentry, however hard they are to describe."""

from __future__ import annotations

import sys

import pytest

from django_retrytasks import retry_task
from django_retrytasks.alerts.sentry import connect
from django_retrytasks.models import Status
from tests.alerts.sentry.stage import SECRET, Sent, exceptions, initialised
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db


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
        assert exception["stacktrace"]["frames"][0]["function"] == "_ended"

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
        deceptive = "tests.alerts.sentry.test_exceptions.Deceptive"
        assert exception["value"] == f"{deceptive}: message unavailable"
