"""The option ``expires``: what it takes, where it is given, and what is refused."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from django_retrytasks import RetryTask, retry_task
from django_retrytasks.models import Task
from django_retrytasks.tasks import as_retry_task
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db
LAST = datetime.max.replace(tzinfo=UTC)
NOON = datetime(2030, 6, 1, 12, tzinfo=UTC)
decorate: Any = retry_task


@retry_task(expires=timedelta(minutes=10))
def tells_the_time(value: int = 0) -> int:
    return value


def plain() -> None: ...


def lifetime(of: Any, driver: Driver) -> timedelta | None:
    row: Task = driver.row(of)
    return row.expires_at - row.enqueued_at if row.expires_at else None


class TestGiven:
    def test_on_the_decorator_it_holds_for_every_call(self, driver: Driver) -> None:
        results = [tells_the_time.enqueue(1), tells_the_time.delay(1)]
        results += tells_the_time.enqueue_many([(1,)])

        assert {lifetime(result, driver) for result in results} == {timedelta(minutes=10)}

    def test_a_call_overrides_the_decorator(self, driver: Driver) -> None:
        assert lifetime(tells_the_time.using(expires=5).enqueue(), driver) == timedelta(seconds=5)
        assert lifetime(tells_the_time.using(priority=1).enqueue(), driver) == timedelta(minutes=10)

    def test_copies_keep_it(self) -> None:
        task: Any = tells_the_time.using(expires=5)
        copies: list[RetryTask[..., Any]] = [
            pickle.loads(pickle.dumps(task)),
            task.using(priority=1),
            task.as_stored(queue_name="mail"),
            as_retry_task(task),
        ]

        assert [copy.expires for copy in copies] == [5.0] * 4
        assert tells_the_time.expires == 600.0
        assert tasks.echoes.expires is None

    @pytest.mark.parametrize("expires", [60, 60.0, timedelta(minutes=1)])
    def test_celerys_call_takes_seconds(self, expires: Any, driver: Driver) -> None:
        result = tasks.echoes.apply_async((1,), expires=expires)

        assert lifetime(result, driver) == timedelta(minutes=1)

    def test_celerys_call_takes_a_moment(self, driver: Driver) -> None:
        result = tasks.echoes.apply_async((1,), countdown=60, expires=NOON)

        assert driver.row(result).expires_at == NOON

    def test_a_moment_that_has_passed_is_taken(self, driver: Driver) -> None:
        result = tasks.echoes.using(expires=timezone.now() - timedelta(1)).enqueue()

        driver.run_due()

        assert driver.row(result).stop_reason == "EXPIRED"


class TestRefused:
    @pytest.mark.parametrize(
        ("expires", "kind", "said"),
        [
            (0, ValueError, "must be above 0 and at most 31622400 seconds, not 0"),
            (-1, ValueError, "must be above 0 and at most 31622400 seconds, not -1"),
            (float("nan"), ValueError, "must be above 0 and at most 31622400 seconds, not nan"),
            (timedelta(days=367), ValueError, "must be above 0 and at most 31622400 seconds"),
            ("60", TypeError, r"must be seconds \(int, float\), a timedelta or an aware datetime"),
            (True, TypeError, r"must be seconds \(int, float\), a timedelta or an aware datetime"),
            (LAST, ValueError, "must be of a year from 1000 to 9997, not 9999-12-31T23:59:59"),
            (datetime(999, 1, 1, tzinfo=UTC), ValueError, "must be of a year from 1000 to 9997"),
            (datetime(2030, 6, 1), ValueError, r"must be an aware datetime, not datetime.* use "),
        ],
    )
    def test_a_wrong_value_is_named_with_its_task(
        self, expires: Any, kind: type[Exception], said: str
    ) -> None:
        with pytest.raises(kind, match=f"^plain: expires {said}"):
            decorate(expires=expires)(plain)
        with pytest.raises(kind, match=f"^echoes: expires {said}"):
            tasks.echoes.using(expires=expires)
        with pytest.raises(kind, match=f"^echoes: expires {said}"):
            tasks.echoes.apply_async((1,), expires=expires)

    @pytest.mark.parametrize("expires", [60, timezone.now() + timedelta(seconds=60)])
    def test_an_expiry_before_the_start_is_refused_at_enqueue(self, expires: Any) -> None:
        task = tasks.echoes.using(run_after=timezone.now() + timedelta(hours=1), expires=expires)

        with pytest.raises(
            ValueError, match=r"^echoes: it would expire at .* give a later expires"
        ):
            task.enqueue(1)
        with pytest.raises(ValueError, match=r"^echoes: it would expire at "):
            tasks.echoes.apply_async((1,), countdown=3600, expires=expires)

        assert not Task.objects.exists()

    def test_an_expiry_at_the_very_start_is_refused(self) -> None:
        with pytest.raises(ValueError, match="not start before run_after"):
            tasks.echoes.using(run_after=NOON, expires=NOON).enqueue(1)

    def test_with_use_tz_off_a_naive_moment_is_taken(self, settings: Any, driver: Driver) -> None:
        settings.USE_TZ = False
        moment = datetime(2030, 6, 1, 12)

        result = tasks.echoes.using(expires=moment).enqueue(1)

        assert driver.row(result).expires_at == moment
