"""Policies in layers: site, backend, decorator and call; and callable backoffs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import django
import pytest
from django.utils import timezone
from pytest_django import Settings

from django_retrytasks import retry_task
from django_retrytasks.models import Status
from django_retrytasks.tasks import as_retry_task
from django_retrytasks.values.contract import TaskResultStatus
from tests.backend.aliases import configure, task
from tests.support.driver import Driver
from tests.support.third_party import tasks as plain

pytestmark = pytest.mark.django_db

# django.tasks of Django 6.0 takes no options of a backend's own.
takes_options = pytest.mark.skipif(
    (6, 0) <= django.VERSION < (6, 1), reason="@task of Django 6.0 takes no further options"
)


def linear(exception: BaseException, task_result: Any) -> float | None:
    return 7


def tells_backoff(exception: BaseException, task_result: Any) -> float | None:
    told.append((exception, task_result))
    return 30


def stops(exception: BaseException, task_result: Any) -> float | None:
    return None


told: list[tuple[BaseException, Any]] = []


@retry_task(max_attempts=10, backoff=tells_backoff)
def backs_off() -> None:
    raise ConnectionError("busy")


@retry_task(max_attempts=10, backoff=stops)
def backs_out() -> None:
    raise ConnectionError("busy")


class TestPolicyLayers:
    @pytest.mark.parametrize(
        ("site", "options", "decorator", "call", "expected"),
        [
            ({}, {}, {}, {}, 3),
            ({"max_retries": 4}, {}, {}, {}, 4),
            ({"max_retries": 4}, {"max_retries": 5}, {}, {}, 5),
            ({"max_retries": 4}, {"max_retries": 5}, {"max_retries": 6}, {}, 6),
            ({"max_retries": 4}, {"max_retries": 5}, {"max_retries": 6}, {"max_retries": 7}, 7),
            ({"max_retries": 4}, {"max_attempts": 6}, {}, {"max_attempts": 1}, 0),
            ({"max_retries": 4}, {"max_retries": 5}, {}, {"max_retries": None}, None),
        ],
    )
    def test_call_over_decorator_over_backend_over_site(
        self,
        site: dict[str, Any],
        options: dict[str, Any],
        decorator: dict[str, Any],
        call: dict[str, Any],
        expected: int | None,
        settings: Settings,
        driver: Driver,
    ) -> None:
        settings.RETRYTASKS = {"POLICY": site}
        configure(settings, default={"OPTIONS": options})
        decorate: Any = retry_task(**decorator)
        made = decorate(plain.sends_receipt.func).using(**call)

        result = made.enqueue(1)

        assert made.policy.max_retries == driver.row(result).max_retries == expected

    def test_layers_are_laid_option_by_option(self, settings: Settings) -> None:
        settings.RETRYTASKS = {"POLICY": {"countdown": 1, "timeout": 2, "max_retries": 9}}
        configure(settings, default={"OPTIONS": {"timeout": 3}})

        policy = retry_task(max_retries=8)(plain.sends_receipt.func).using(jitter=False).policy

        assert (policy.countdown, policy.timeout, policy.max_retries) == (1, 3, 8)
        assert policy.jitter is False

    @pytest.mark.parametrize("place", ["beside BACKEND", "in OPTIONS"])
    def test_names_proposed_for_django_are_taken(
        self, place: str, settings: Settings, driver: Driver
    ) -> None:
        given = {"MAX_ATTEMPTS": 2, "BACKOFF": f"{__name__}.linear"}
        configure(settings, default=given if place == "beside BACKEND" else {"OPTIONS": given})

        result = plain.breaks.enqueue()
        driver.attempt(result)
        driver.attempt(result)

        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 1 in 7 s",
            "max_retries reached (1 retry)",
        ]

    def test_a_callable_backoff_may_stand_in_the_settings(self, settings: Settings) -> None:
        configure(settings, default={"BACKOFF": linear})

        assert as_retry_task(plain.breaks).policy.backoff is linear

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"OPTIONS": {"max_retrys": 1}}, r"TASKS\['default'\].*'max_retrys'.*.max_retries."),
            ({"OPTIONS": {"MAX_ATTEMPT": 1}}, r"TASKS\['default'\].*'max_attempt'.*.max_attempts."),
            ({"OPTIONS": {"max_attempts": 2, "max_retries": 1}}, "or max_attempts, not both"),
            ({"MAX_ATTEMPTS": 2, "OPTIONS": {"max_retries": 1}}, "or max_attempts, not both"),
        ],
    )
    def test_a_misspelt_option_of_a_backend_suggests_the_right_one(
        self, params: dict[str, Any], message: str, settings: Settings
    ) -> None:
        configure(settings, default=params)
        made = task(plain.breaks.func)

        with pytest.raises(TypeError, match=message):
            made.enqueue()

    def test_a_backoff_that_cannot_be_imported_is_named(self, settings: Settings) -> None:
        configure(settings, default={"BACKOFF": "no.where"})
        made = task(plain.breaks.func)

        with pytest.raises(ImportError, match=r"backoff 'no\.where' cannot be imported"):
            made.enqueue()

    @takes_options
    def test_plain_task_takes_the_options(self, driver: Driver) -> None:
        made: Any = task(max_attempts=10, backoff=linear, timeout=30)(plain.breaks.func)

        assert (made.policy.max_retries, made.policy.backoff) == (9, linear)
        assert driver.row(made.enqueue()).timeout == 30

    @takes_options
    def test_plain_task_suggests_the_right_option(self) -> None:
        with pytest.raises(TypeError, match=r"breaks: unknown option 'max_retry'.*.max_retries."):
            task(max_retry=1)(plain.breaks.func)

    @takes_options
    def test_plain_task_takes_no_run_after(self) -> None:
        if django.VERSION < (6, 0):
            pytest.skip("the backport hands its own run_after over")
        with pytest.raises(TypeError, match="run_after"):
            task(run_after=timezone.now())(plain.breaks.func)

    def test_retry_task_suggests_the_right_option(self) -> None:
        with pytest.raises(TypeError, match=r"breaks: unknown option 'max_retry'.*.max_retries."):
            retry_task(max_retry=1)(plain.breaks.func)  # type: ignore[call-overload]

    def test_backoff_is_told_the_exception_and_the_result_as_failed(self, driver: Driver) -> None:
        told.clear()
        result = backs_off.enqueue()

        driver.attempt(result)
        driver.attempt(result)

        assert [attempt.decision for attempt in driver.attempts(result)] == [
            "retry 1 of 9 in 30 s",
            "retry 2 of 9 in 30 s",
        ]
        shown = [
            (str(exception), seen.id, seen.status, seen.attempts, len(seen.errors))
            for exception, seen in told
        ]
        assert shown == [
            ("busy", result.id, TaskResultStatus.FAILED, 1, 1),
            ("busy", result.id, TaskResultStatus.FAILED, 2, 2),
        ]
        assert told[0][1].errors[0].exception_class is ConnectionError
        assert told[0][1].finished_at is not None

    def test_backoff_stops_by_none(self, driver: Driver) -> None:
        result = backs_out.enqueue()

        driver.run_due()

        row = driver.row(result)
        assert (row.status, row.stop_reason, row.attempt_count) == (Status.FAILED, "BACKOFF", 1)


@pytest.fixture(autouse=True)
def _told() -> Iterator[None]:
    yield
    told.clear()
