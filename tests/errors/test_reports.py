"""What is kept of an exception: any exception, as text that every database stores."""

import pytest

from django_retrytasks.errors.reports import class_path, report, storable
from tests.support import tasks
from tests.support.driver import Driver

KILOBYTE = 1024


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even this fails")


def test_class_message_and_traceback_are_kept() -> None:
    reported = report(raised(ValueError("no luck")))

    assert (reported.class_path, reported.message) == ("builtins.ValueError", "no luck")
    assert reported.traceback.startswith("Traceback (most recent call last):")
    assert reported.traceback.endswith("ValueError: no luck\n")


def raised(exception: BaseException) -> BaseException:
    """Return an exception that has been raised."""
    with pytest.raises(type(exception)) as caught:
        raise exception
    return caught.value


def test_a_chain_is_kept() -> None:
    with pytest.raises(ValueError, match="the effect") as caught:
        tasks.raises_from_cause()

    text = report(caught.value).traceback
    assert "KeyError: 'the cause'" in text
    assert "The above exception was the direct cause of the following exception:" in text


def test_an_exception_that_cannot_be_shown_says_so() -> None:
    reported = report(Broken())

    assert reported.class_path == "tests.errors.test_reports.Broken"
    assert reported.message == "<the exception's __str__ raised RuntimeError>"


class Text(str):
    """Says that nothing of it needs to be escaped."""

    def isascii(self) -> bool:
        return True

    def __contains__(self, part: object) -> bool:
        return False


class SaysText(Exception):
    def __str__(self) -> str:
        return Text("\ud800 and \0")


def test_a_message_of_a_class_of_its_own_is_escaped_all_the_same() -> None:
    message = report(SaysText()).message

    assert (type(message), message) == (str, "\\ud800 and \\x00")


def test_a_long_message_keeps_its_head_and_tail_within_4_kb() -> None:
    reported = report(ValueError("head" + "x" * 10_000_000 + "tail"))

    assert len(reported.message) <= 4 * KILOBYTE
    assert reported.message.startswith("headxxx")
    assert reported.message.endswith("xxxtail")
    assert "[... 9995912 characters left out ...]" in reported.message


def test_a_long_traceback_is_kept_within_64_kb() -> None:
    reported = report(raised(ValueError("x" * 10_000_000)))

    assert len(reported.traceback) <= 64 * KILOBYTE
    assert reported.traceback.startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "limit", "kept"),
    [
        ("plain", 100, "plain"),
        ("a\0b", 100, "a\\x00b"),
        ("a\ud800b", 100, "a\\ud800b"),
        ("äöü", 6, "äöü"),
        ("", 0, ""),
    ],
)
def test_what_databases_refuse_is_escaped(text: str, limit: int, kept: str) -> None:
    assert storable(text, limit) == kept


@pytest.mark.parametrize("character", ["ä", "€", "😀", "\0", "\ud800"])
def test_the_limit_is_of_bytes_and_cuts_no_character(character: str) -> None:
    text = storable(character * 10_000, 4 * KILOBYTE)

    assert len(text.encode()) <= 4 * KILOBYTE
    assert "left out" in text


def test_a_class_of_a_long_name_fits_its_column() -> None:
    assert len(class_path(type("N" * 300, (Exception,), {}))) == 255


@pytest.mark.django_db
class TestStored:
    @pytest.mark.parametrize(
        ("text", "times", "kept"),
        [("a\0b", 1, "a\\x00b"), ("a\ud800b", 1, "a\\ud800b"), ("😀", 1, "😀")],
    )
    def test_any_message_is_stored(self, driver: Driver, text: str, times: int, kept: str) -> None:
        result = tasks.raises_message.enqueue(text, times)

        driver.run_due()

        assert driver.attempts(result)[0].exception_message == kept

    def test_ten_megabytes_are_stored_within_their_limits(self, driver: Driver) -> None:
        result = tasks.raises_message.enqueue("😀" * 10, 1_000_000)

        driver.run_due()

        [attempt] = driver.attempts(result)
        assert 3 * KILOBYTE < len(attempt.exception_message.encode()) <= 4 * KILOBYTE
        assert 48 * KILOBYTE < len(attempt.traceback.encode()) <= 64 * KILOBYTE

    def test_a_broken_exception_is_stored(self, driver: Driver) -> None:
        result = tasks.raises_exception_with_broken_str.enqueue()

        driver.run_due()

        [attempt] = driver.attempts(result)
        path = "tests.support.tasks.raises_exception_with_broken_str.<locals>.Broken"
        assert attempt.exception_class_path == path
        assert attempt.traceback != ""
