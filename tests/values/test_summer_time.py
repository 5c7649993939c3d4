"""Tasks while the local clock is changed: ``USE_TZ`` is off, so the database is given local times.

PostgreSQL keeps instants all the same. On the others two instants an hour apart are one local time
when the clock is put back; what cannot be told apart there comes late, not early.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_retrytasks import lifecycle
from tests.support import tasks
from tests.support.driver import Driver

pytestmark = pytest.mark.django_db(transaction=True)

BERLIN = ZoneInfo("Europe/Berlin")
# 02:00 becomes 03:00.
PUT_FORWARD = datetime(2026, 3, 29, 1, tzinfo=UTC)
# 03:00 becomes 02:00.
PUT_BACK = datetime(2026, 10, 25, 1, tzinfo=UTC)
KEEPS_INSTANTS = connection.vendor == "postgresql"

FAKE_CLOCK = """
CREATE SCHEMA fake;
CREATE FUNCTION fake.statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE
    AS $$ SELECT current_setting('fake.clock')::timestamptz $$;
SET search_path = fake, pg_catalog, public
"""


class Clock:
    """The database's clock and this host's, which show what they are told."""

    def __init__(self) -> None:
        self.at = PUT_BACK

    def now(self) -> datetime:
        """Tell the time as `timezone.now` does."""
        return datetime.fromtimestamp(self.at.timestamp())

    def set(self, at: datetime) -> None:
        self.at = at
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                cursor.execute("SELECT set_config('fake.clock', %s, false)", [at.isoformat()])
            elif connection.vendor == "mysql":
                cursor.execute("SET timestamp = %s", [at.timestamp()])

    def strftime(self, form: str, now: str, moved: str) -> str:
        """Answer as SQLite does."""
        seconds = int(moved.removesuffix(" seconds"))
        moment = (self.at + timedelta(seconds=seconds)).replace(tzinfo=None)
        return moment.isoformat(" ", "milliseconds")


@pytest.fixture
def clock(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    with override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"):
        connection.ensure_connection()
        if connection.vendor == "sqlite":
            connection.connection.create_function("STRFTIME", 3, clock.strftime)
        elif connection.vendor == "postgresql":
            connection.cursor().execute(FAKE_CLOCK)
        monkeypatch.setattr(timezone, "now", clock.now)
        yield clock
        if connection.vendor == "postgresql":
            connection.cursor().execute("DROP SCHEMA fake CASCADE")
        connection.close()


def seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


def runs_at(driver: Driver, clock: Clock, result: Any, at: datetime) -> bool:
    """Serve a wake-up at this moment; return whether that attempted the Task."""
    before = driver.row(result).attempt_count
    clock.set(at)
    driver.run_due()
    return driver.row(result).attempt_count > before


MOMENTS = {
    "in summer": PUT_BACK - timedelta(days=30),
    "in winter": PUT_BACK + timedelta(days=30),
    "before the hour that passes twice": PUT_BACK - timedelta(hours=1, seconds=3),
    "the first time": PUT_BACK - timedelta(minutes=50),
    "the second time": PUT_BACK + timedelta(minutes=10),
    "after the second time": PUT_BACK + timedelta(hours=1) - seconds(3),
    "when the clock is put forward": PUT_FORWARD - seconds(3),
    "after it has been": PUT_FORWARD + seconds(3),
}


class TestRetry:
    @pytest.mark.parametrize("moment", MOMENTS)
    def test_waits_as_long_as_its_countdown(
        self, driver: Driver, clock: Clock, moment: str
    ) -> None:
        start = MOMENTS[moment]
        clock.set(start)
        result = tasks.always_fails.enqueue()

        ran = [runs_at(driver, clock, result, start + seconds(wait)) for wait in (0, 4.5, 5.5)]

        assert ran == [True, False, True]

    def test_into_the_hour_that_passes_again_is_not_early(
        self, driver: Driver, clock: Clock
    ) -> None:
        start = PUT_BACK - seconds(3)
        clock.set(start)
        result = tasks.always_fails.enqueue()

        ran = [runs_at(driver, clock, result, start + seconds(wait)) for wait in (0, 2.5, 4.5, 5.5)]

        assert ran == [True, False, False, KEEPS_INSTANTS]
        assert KEEPS_INSTANTS or runs_at(driver, clock, result, start + seconds(3606))

    @pytest.mark.parametrize("change", [PUT_BACK, PUT_FORWARD])
    def test_over_the_change_waits_as_long_as_its_countdown(
        self, driver: Driver, clock: Clock, change: datetime
    ) -> None:
        start = change - timedelta(minutes=30)
        clock.set(start)
        result = tasks.always_fails.using(countdown=7200, max_countdown=7200).enqueue()

        ran = [runs_at(driver, clock, result, start + seconds(wait)) for wait in (0, 7190, 7210)]

        assert ran == [True, False, True]


@pytest.mark.parametrize("change", [PUT_BACK, PUT_FORWARD])
class TestLease:
    def test_of_a_worker_that_lives_does_not_end_with_the_change(
        self, driver: Driver, clock: Clock, change: datetime
    ) -> None:
        clock.set(change - seconds(50))
        tasks.echoes.enqueue(1)
        [task] = driver.claim().tasks
        assert task.claimed_at is not None

        clock.set(change - seconds(5))
        assert lifecycle.heartbeat(task, started_at=task.claimed_at)
        clock.set(change + seconds(5))
        assert driver.claim().tasks == ()
        assert lifecycle.heartbeat(task, started_at=task.claimed_at)
        clock.set(change + seconds(60))

        assert len(lifecycle.settle([driver.ending(task)])) == 1

    def test_of_a_worker_that_died_after_the_change_ends_in_time(
        self, driver: Driver, clock: Clock, change: datetime
    ) -> None:
        clock.set(change + seconds(5))
        tasks.echoes.enqueue(1)
        driver.claim()

        clock.set(change + seconds(64))
        assert driver.claim().tasks == ()
        clock.set(change + seconds(66))

        assert [task.lapsed for task in driver.claim().tasks] == [True]


class TestWhatIsPutOff:
    @pytest.mark.parametrize("change", [PUT_BACK, PUT_FORWARD])
    @pytest.mark.parametrize("way", ["using", "apply_async", "snooze"])
    def test_over_the_change_waits_so_long(
        self, driver: Driver, clock: Clock, change: datetime, way: str
    ) -> None:
        start = change - timedelta(minutes=30)
        clock.set(start)
        if way == "using":
            result = tasks.succeeds.using(run_after=timedelta(hours=2)).enqueue()
        elif way == "apply_async":
            result = tasks.succeeds.apply_async(countdown=7200)
        else:
            result = tasks.succeeds.enqueue()
            lifecycle.snooze([driver.row(result).pk], 7200)

        ran = [runs_at(driver, clock, result, start + seconds(wait)) for wait in (7190, 7210)]

        assert ran == [False, True]

    def test_a_task_that_is_due_when_the_clock_is_put_back_is_late_where_no_fold_is_kept(
        self, driver: Driver, clock: Clock
    ) -> None:
        clock.set(PUT_BACK - seconds(5))
        result = tasks.succeeds.enqueue()

        assert runs_at(driver, clock, result, PUT_BACK + seconds(5)) == KEEPS_INSTANTS
        assert KEEPS_INSTANTS or runs_at(driver, clock, result, PUT_BACK + timedelta(hours=1))

    @pytest.mark.parametrize(
        "given",
        [
            datetime(2026, 7, 1, 12),
            datetime(2026, 7, 1, 12, tzinfo=BERLIN),
            datetime(2026, 7, 1, 10, tzinfo=UTC),
        ],
        ids=["naive", "local", "UTC"],
    )
    @pytest.mark.parametrize("way", ["using", "apply_async", "plain"])
    def test_until_a_moment_waits_for_it_naive_or_aware(
        self, driver: Driver, clock: Clock, given: datetime, way: str, monkeypatch: Any
    ) -> None:
        noon = datetime(2026, 7, 1, 10, tzinfo=UTC)
        clock.set(noon - seconds(5))
        if way == "using":
            result: Any = tasks.succeeds.using(run_after=given).enqueue()
        elif way == "apply_async":
            result = tasks.succeeds.apply_async(eta=given)
        else:
            plain = tasks.plain_task(tasks.not_decorated)
            monkeypatch.setattr(tasks, "not_decorated", plain)
            result = plain.using(run_after=given).enqueue("x")

        assert driver.row(result).run_after == datetime(2026, 7, 1, 12)
        ran = [runs_at(driver, clock, result, noon + seconds(wait)) for wait in (-1, 1)]
        assert ran == [False, True]

    def test_until_a_moment_of_the_hour_that_passes_twice_waits_for_it(
        self, driver: Driver, clock: Clock
    ) -> None:
        clock.set(PUT_BACK - timedelta(hours=5))
        first, second = (
            tasks.succeeds.apply_async(eta=datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=fold))
            for fold in (0, 1)
        )

        half = timedelta(minutes=30)
        assert not runs_at(driver, clock, first, PUT_BACK - half - seconds(1))
        assert runs_at(driver, clock, first, PUT_BACK - half + seconds(1))
        assert not runs_at(driver, clock, second, PUT_BACK + half - seconds(1))
        assert runs_at(driver, clock, second, PUT_BACK + half + seconds(1)) == KEEPS_INSTANTS
        late = PUT_BACK + half + timedelta(hours=1, seconds=1)
        assert KEEPS_INSTANTS or runs_at(driver, clock, second, late)


class TestArguments:
    def test_moments_come_back_as_they_were(self, driver: Driver, clock: Clock) -> None:
        clock.set(PUT_BACK)
        given = [
            datetime(2026, 10, 25, 2, 30, fold=1),
            datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN, fold=1),
            PUT_BACK,
        ]
        result = tasks.echoes.enqueue(given)

        returned = driver.attempt(result).return_value

        assert [(one.isoformat(), one.fold) for one in returned] == [
            ("2026-10-25T02:30:00", 1),
            ("2026-10-25T02:30:00+01:00", 1),
            ("2026-10-25T01:00:00+00:00", 0),
        ]
