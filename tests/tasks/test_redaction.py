"""Secrets among the arguments: neither shown, nor recorded with what goes wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import pytest
from django.core import mail
from django.test import Client
from django.views import debug
from hypothesis import example, given
from hypothesis import strategies as st

from django_retrytasks import Discard, RetryTaskContext, retry_task
from django_retrytasks.errors.reports import MESSAGE_LIMIT, report
from django_retrytasks.models import Attempt, Encoded, FailureGroup, Status, Task
from django_retrytasks.tasks.redaction import secrets_of, shown_arguments, without
from tests.support.driver import Driver

STARS = "********************"
SECRET = "DE02-1203-hunter2"
LINES = "-----BEGIN KEY-----\nthe-key-of-hunter2\n-----END KEY-----"
APOSTROPHE = "hunter2's \\ own"
QUOTED = 'it\'s a "hunter2" \\ of über'
SITE = f"{__name__}.SiteFilter"
FOREIGN = f"{__name__}.ForeignFilter"


class SiteFilter(debug.SafeExceptionReporterFilter):
    """A site's own, as Django's documentation has it."""

    hidden_settings = re.compile("^order_id$")
    cleansed_substitute = "[hidden]"


class ForeignFilter:
    """One that is no subclass of Django's and has none of its attributes."""


@retry_task(sensitive=("iban",), max_retries=0)
def refund(order_id: int, iban: Any = None, *, note: Any = "", **more: Any) -> None:
    """Raise what quotes an argument."""
    raise ValueError(f"no such account: {iban}")


@retry_task(sensitive=("rest", "pin"))
def takes_any(first: int, *rest: Any, **named: Any) -> list[Any]:
    return [first, rest, named]


@retry_task(sensitive=("value",), max_retries=0)
def raises(how: str, value: Any) -> None:
    WAYS[how](value)


@retry_task(bind=True, max_retries=1)
def celery_shaped(self: RetryTaskContext, password: str) -> None:
    try:
        raise ConnectionError(f"refused: {password}")
    except ConnectionError as exc:
        self.retry(exc=exc, countdown=5)


@retry_task(max_retries=0)
def empties(options: dict[str, Any], *, lists: list[dict[str, Any]]) -> None:
    """Take the secrets out of what was given, then quote them."""
    raise ConnectionError(f"refused: {options.pop('password')} {lists.pop()['token']}")


@retry_task(sensitive=("text",), backoff=lambda exception, result: str(exception))  # type: ignore[arg-type, return-value]
def has_a_wrong_backoff(text: str) -> None:
    raise ValueError(text)


def raise_message(value: Any) -> None:
    raise ValueError(f"not accepted: {value}")


def raise_repr(value: Any) -> None:
    raise ValueError({"user": 'a "name"', "secret": value})


def raise_json(value: Any) -> None:
    raise ValueError(json.dumps({"secret": value}))


def raise_readable_json(value: Any) -> None:
    raise ValueError(json.dumps({"secret": value}, ensure_ascii=False))


def raise_url(value: Any) -> None:
    raise ValueError(f"404 https://example.com?{urlencode({'q': value})}")


def raise_escaped_quote(value: Any) -> None:
    raise ValueError(repr(f"\"'{value}"))


def raise_chained(value: Any) -> None:
    try:
        raise KeyError(value)
    except KeyError as error:
        raise ValueError("no such key") from error


def raise_noted(value: Any) -> None:
    error = ValueError("no such key")
    error.add_note(f"it was {value}")
    raise error


def raise_repeated(value: Any) -> None:
    raise ValueError(f"{value} " * 500)


def raise_group(value: Any) -> None:
    raise ExceptionGroup("several", [ValueError(value), ExceptionGroup("x", [KeyError(value)])])


WAYS: dict[str, Callable[[Any], None]] = {
    function.__name__.removeprefix("raise_"): function
    for function in (
        raise_message,
        raise_repr,
        raise_json,
        raise_readable_json,
        raise_url,
        raise_escaped_quote,
        raise_chained,
        raise_noted,
        raise_repeated,
        raise_group,
    )
}


@retry_task(sensitive=("iban",))
def discards(iban: str) -> None:
    raise Discard(f"no such account: {iban}")


def row(to: Any, *args: Any, **kwargs: Any) -> Task:
    """Return a Task that has not been stored, its arguments as they come back from storage."""
    return Task(name=to.module_path, args=list(args), kwargs=kwargs)


@pytest.fixture
def use_filter(settings: Any) -> Iterator[Callable[[str], None]]:
    """Set DEFAULT_EXCEPTION_REPORTER_FILTER, which Django reads once for a process."""

    cached: Any = debug.get_default_exception_reporter_filter

    def use(path: str) -> None:
        settings.DEFAULT_EXCEPTION_REPORTER_FILTER = path
        cached.cache_clear()

    yield use
    cached.cache_clear()


class TestShownArguments:
    def test_sensitive_ones_are_hidden_however_they_were_passed(self) -> None:
        hidden = {"order_id": 7, "iban": STARS}

        assert shown_arguments(row(refund, 7, SECRET)) == hidden
        assert shown_arguments(row(refund, 7, iban={"of": [SECRET]})) == hidden

    def test_sensitive_names_count_at_any_depth_and_for_any_kind_of_parameter(self) -> None:
        nested = row(refund, 7, note=[{"iban": SECRET, "n": 1}], more={"deep": {"iban": SECRET}})
        of_any = row(takes_any, 1, SECRET, SECRET, pin=SECRET, other=2)

        assert shown_arguments(nested) == {
            "order_id": 7,
            "note": [{"iban": STARS, "n": 1}],
            "more": {"more": {"deep": {"iban": STARS}}},
        }
        assert shown_arguments(of_any) == {
            "first": 1,
            "rest": STARS,
            "named": {"pin": STARS, "other": 2},
        }

    def test_names_that_a_pattern_of_the_site_is_found_in_are_hidden(self, settings: Any) -> None:
        settings.RETRYTASKS = {"REDACT": ["^order", "TE$"]}

        shown = shown_arguments(row(refund, 7, note="n", x={"my_order": 1, "ORDER": 2}))

        assert shown == {
            "order_id": STARS,
            "note": STARS,
            "more": {"x": {"my_order": 1, "ORDER": STARS}},
        }

    @pytest.mark.parametrize("name", ["api_url", "Authorization", "csrf_token", "user_password"])
    def test_names_that_django_hides_are_hidden(self, name: str) -> None:
        shown = shown_arguments(row(refund, 7, note=[{name: SECRET, "n": 1}], **{name: SECRET}))

        assert shown == {
            "order_id": 7,
            "note": [{name: STARS, "n": 1}],
            "more": {name: STARS},
        }

    def test_the_sites_own_filter_is_asked(self, use_filter: Callable[[str], None]) -> None:
        use_filter(SITE)

        shown = shown_arguments(row(refund, 7, note={"token": 1}))

        assert shown == {"order_id": "[hidden]", "note": {"token": 1}}

    def test_djangos_rules_hold_where_the_sites_filter_has_none(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter(FOREIGN)

        assert shown_arguments(row(refund, 7, note={"token": 1}))["note"] == {"token": STARS}

    def test_where_the_code_is_gone_every_one_is_hidden(self) -> None:
        gone = row(SimpleNamespace(module_path="gone.tasks.refund"), 7, SECRET, iban=SECRET, note=1)

        shown = shown_arguments(gone)

        assert shown == {"args[0]": STARS, "args[1]": STARS, "iban": STARS, "note": STARS}

    def test_where_the_code_takes_other_arguments_now_sensitive_names_count_still(self) -> None:
        changed = row(raises, "a", "b", "c", value=SECRET, other=1)

        shown = shown_arguments(changed)

        assert shown == {f"args[{index}]": STARS for index in range(3)} | {
            "value": STARS,
            "other": 1,
        }

    def test_a_definition_that_the_caller_has_is_not_looked_up(self) -> None:
        gone = row(SimpleNamespace(module_path="gone.tasks.refund"), 7, SECRET)

        assert shown_arguments(gone, refund) == {"order_id": 7, "iban": STARS}

    @pytest.mark.parametrize("patterns", [["("], [1], 7])
    def test_all_are_hidden_where_the_sites_patterns_are_wrong(
        self, settings: Any, patterns: Any
    ) -> None:
        settings.RETRYTASKS = {"REDACT": patterns}
        task = row(refund, "the order", note=[SECRET])

        assert shown_arguments(task) == {"order_id": STARS, "note": STARS}
        assert set(secrets_of(task)) >= {"the order", SECRET}

    def test_all_are_hidden_where_the_sites_filter_cannot_be_imported(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter("gone.Filter")

        assert shown_arguments(row(refund, 7)) == {"order_id": STARS}

    @pytest.mark.django_db
    @pytest.mark.parametrize("field", ["args", "kwargs"])
    @pytest.mark.parametrize("text", ["no JSON", "7"])
    def test_what_is_not_readable_is_not_shown(self, driver: Driver, field: str, text: str) -> None:
        result = refund.enqueue(7, SECRET)
        Task.objects.filter(pk=result.id).update(**{field: Encoded(text)})

        assert shown_arguments(driver.row(result)) == {}
        assert secrets_of(driver.row(result)) == []


class TestSecrets:
    def test_are_the_hidden_values_the_longest_first(self) -> None:
        task = row(refund, 7, [SECRET, {"of": f"{SECRET}-and-more"}], password="hunter2")

        assert secrets_of(task) == [f"{SECRET}-and-more", SECRET, "hunter2"]

    @pytest.mark.parametrize("value", [123, "abc", " \n  \t ", True, False, None, [], {}, "é"])
    def test_are_not_what_would_mangle_everything(self, value: Any) -> None:
        assert secrets_of(row(refund, 7, [value])) == []

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (1234, "at 1234 €"),
            (12.34, "at 12.34 €"),
            (Decimal("12.340"), "Decimal('12.340')"),
            (date(2026, 1, 2), "on 2026-01-02"),
            (datetime(2026, 1, 2, tzinfo=UTC), "at 2026-01-02T00:00:00+00:00"),
            (datetime(2026, 1, 2, tzinfo=UTC), "at 2026-01-02 00:00:00+00:00"),
            (datetime(2026, 1, 2), "at datetime.datetime(2026, 1, 2, 0, 0)"),
            (UUID(int=7), "of 00000000-0000-0000-0000-000000000007"),
            (UUID(int=7), "of 00000000000000000000000000000007"),
        ],
    )
    def test_may_be_of_any_type_that_can_be_stored(self, value: Any, text: str) -> None:
        told = without(text, secrets_of(row(refund, 7, value)))

        assert STARS in told
        assert not any(digit in told for digit in "1234567")

    @given(st.text(min_size=4).filter(lambda text: len(text.strip()) >= 4))
    def test_are_found_however_a_text_may_quote_them(self, value: str) -> None:
        secrets = secrets_of(row(refund, 7, value))

        for spell in (str, repr, json.dumps):
            for quoted in (value, f"'{value}\"", [value], {"of": value}):
                text = f"before {spell(quoted)} after"
                inner = spell(value)[1:-1] if spell is not str else value
                rest = without(text, secrets)
                assert rest.startswith("before ")
                assert rest.endswith(" after")
                assert inner not in rest.replace(STARS, "")

    @example("one half \ud83d of a character")
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_can_be_found_in_any_value(self, value: Any) -> None:
        secrets = secrets_of(row(refund, 7, value))

        assert secrets == sorted(secrets, key=len, reverse=True)
        assert without("", secrets) == ""


class TestWithout:
    def test_leaves_a_text_alone_that_quotes_no_secret(self) -> None:
        assert without("nothing \0 to see", []) == "nothing \0 to see"
        assert without("nothing to see", [SECRET]) == "nothing to see"

    def test_hides_the_longer_of_two_where_one_is_in_the_other(self) -> None:
        secrets = secrets_of(row(refund, 7, ["hunter", "hunter2-and-more"]))

        told = without("hunter2-and-more, hunter, hunter2", secrets)

        assert told == f"{STARS}, {STARS}, {STARS}2"

    def test_uses_the_sites_own_substitute(self, use_filter: Callable[[str], None]) -> None:
        use_filter(SITE)

        assert without(f"not {SECRET}", [SECRET]) == "not [hidden]"

    def test_uses_djangos_where_the_sites_filter_cannot_be_imported(
        self, use_filter: Callable[[str], None]
    ) -> None:
        use_filter("gone.Filter")

        assert without(f"not {SECRET}", [SECRET]) == f"not {STARS}"

    @pytest.mark.parametrize("around", ["x", "é", "\0"])
    def test_leaves_no_half_of_a_secret_beside_the_gap_of_a_long_text(self, around: str) -> None:
        secret = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
        halved = 0
        for beside in range(0, 2200, 7):
            for parts in ((beside, 5000), (5000, beside)):
                message = secret.join(around * times for times in parts)
                cut = report(ValueError(message)).message
                halved += secret not in cut and not set(secret).isdisjoint(cut)
                told = without(cut, [secret])
                assert set(secret).isdisjoint(told)
                assert "characters left out" in told
        assert halved


@pytest.mark.django_db
class TestWhatIsRecorded:
    def test_a_secret_is_told_nowhere(
        self, driver: Driver, admin_client: Client, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = refund.enqueue(7, SECRET, note={"password": "the same as hunter1"})

        driver.drain()

        [attempt] = driver.attempts(result)
        pages = [
            admin_client.get(url).content.decode()
            for url in (
                "/admin/retrytasks/task/",
                f"/admin/retrytasks/task/{result.id}/change/",
            )
        ]
        letters = [str(letter.message()) for letter in mail.outbox]
        ours = [each.getMessage() for each in caplog.records if "retrytasks" in each.name]
        told = [
            *pages,
            *letters,
            *ours,
            *(repr(each) for each in Attempt.objects.values()),
            *(repr(each) for each in FailureGroup.objects.values()),
            *(repr(error) for error in refund.get_result(result.id).errors),
        ]
        assert attempt.exception_message == f"no such account: {STARS}"
        assert letters
        assert any("Task failed" in line for line in ours)
        assert [text for text in told if SECRET in text or "hunter1" in text] == []
        assert STARS in pages[1]

    def test_the_rest_of_a_traceback_stays_as_it_is(self, driver: Driver) -> None:
        result = refund.enqueue(7, SECRET)

        driver.attempt(result)

        text = driver.attempts(result)[0].traceback
        assert 'raise ValueError(f"no such account: {iban}")\n' in text
        assert f", line {refund.func.__code__.co_firstlineno + 3}, in refund\n" in text
        assert text.endswith(f"ValueError: no such account: {STARS}\n")

    @pytest.mark.parametrize("how", WAYS)
    @pytest.mark.parametrize("secret", [SECRET, LINES, APOSTROPHE, QUOTED])
    def test_it_is_found_however_it_is_quoted(self, driver: Driver, how: str, secret: str) -> None:
        result = raises.enqueue(how, secret)

        driver.attempt(result)

        [attempt] = driver.attempts(result)
        assert STARS in attempt.traceback
        assert "hunter2" not in attempt.exception_message + attempt.traceback
        assert len(attempt.exception_message) <= MESSAGE_LIMIT

    def test_the_cause_given_to_retry_is_cleaned_too(self, driver: Driver) -> None:
        result = celery_shaped.enqueue(SECRET)

        driver.attempt(result)

        [attempt] = driver.attempts(result)
        assert attempt.exception_message == f"refused: {STARS}"
        assert SECRET not in attempt.traceback
        assert attempt.decision == "retry 1 of 1 in 5 s"

    def test_a_discards_reason_is_cleaned(
        self, driver: Driver, caplog: pytest.LogCaptureFixture
    ) -> None:
        result = discards.enqueue(SECRET)

        task = driver.attempt(result)

        assert task.status == Status.DISCARDED
        assert driver.attempts(result)[0].decision == f"discarded: no such account: {STARS}"
        assert SECRET not in caplog.text

    def test_a_decision_that_quotes_a_backoffs_answer_is_cleaned(self, driver: Driver) -> None:
        result = has_a_wrong_backoff.enqueue(SECRET)

        driver.attempt(result)

        decision = driver.attempts(result)[0].decision
        assert STARS in decision
        assert SECRET not in decision

    def test_what_the_function_took_out_of_its_arguments_is_found(self, driver: Driver) -> None:
        result = empties.enqueue({"password": SECRET}, lists=[{"token": "a token"}])

        driver.attempt(result)

        [attempt] = driver.attempts(result)
        assert attempt.exception_message == f"refused: {STARS} {STARS}"

    def test_a_key_that_only_another_program_could_have_stored_does_no_harm(
        self, driver: Driver
    ) -> None:
        result = refund.enqueue(7, SECRET)
        stored = Encoded('[{"__type__": "dict", "value": [[7, "seven"]]}, "hunter2"]')
        Task.objects.filter(pk=result.id).update(args=stored)

        driver.attempt(result)

        assert driver.attempts(result)[0].exception_message == f"no such account: {STARS}"

    def test_the_function_itself_gets_its_arguments(self, driver: Driver) -> None:
        result = takes_any.enqueue(1, SECRET, pin=SECRET)

        assert driver.attempt(result).return_value == [1, [SECRET], {"pin": SECRET}]
