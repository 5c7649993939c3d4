"""Secrets among the arguments are not recorded with what goes wrong."""

from __future__ import annotations

import pytest
from django.core import mail
from django.test import Client

from django_retrytasks import Discard, RetryTaskContext, retry_task
from django_retrytasks.errors.reports import MESSAGE_LIMIT
from django_retrytasks.models import Attempt, Encoded, FailureGroup, Status, Task
from tests.support.driver import Driver
from tests.tasks.secret_arguments import (
    APOSTROPHE,
    LINES,
    QUOTED,
    SECRET,
    STARS,
    WAYS,
    empties,
    raises,
    refund,
    takes_any,
)


@retry_task(bind=True, max_retries=1)
def celery_shaped(self: RetryTaskContext, password: str) -> None:
    try:
        raise ConnectionError(f"refused: {password}")
    except ConnectionError as exc:
        self.retry(exc=exc, countdown=5)


@retry_task(sensitive=("text",), backoff=lambda exception, result: str(exception))  # type: ignore[arg-type, return-value]
def has_a_wrong_backoff(text: str) -> None:
    raise ValueError(text)


@retry_task(sensitive=("iban",))
def discards(iban: str) -> None:
    raise Discard(f"no such account: {iban}")


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

        [attempt] = driver.attempts(result)
        assert attempt.exception_message == "the stored value of 58 characters is not readable"
        assert "hunter2" not in attempt.traceback

    def test_the_function_itself_gets_its_arguments(self, driver: Driver) -> None:
        result = takes_any.enqueue(1, SECRET, pin=SECRET)

        assert driver.attempt(result).return_value == [1, [SECRET], {"pin": SECRET}]
