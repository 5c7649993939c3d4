"""The moments of calendars: of cron lines as croniter answers, and of lengths of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from django_retrytasks.values import calendars
from django_retrytasks.values.calendars import Calendar, as_cron, as_every


@pytest.fixture(autouse=True)
def berlin(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def following(calendar: Calendar, after: str, count: int) -> list[str]:
    """Return the next moments in UTC, each found from the one before."""
    moment, found = utc(after), []
    for _ in range(count):
        moment = calendar.next(moment)
        found.append(moment)
    # What was going forwards is the same going backwards.
    assert [calendar.latest(each) for each in found] == found
    assert [calendar.latest(each - timedelta(seconds=1)) for each in found[1:]] == found[:-1]
    return [f"{each:%m-%d %H:%M}" for each in found]


class TestCronLines:
    def test_they_are_read_in_the_sites_time_zone(self) -> None:
        weekdays = Calendar(cron="0 3 * * 1-5")

        # A Friday in winter, then Monday.
        assert following(weekdays, "2026-01-16 00:00", 2) == ["01-16 02:00", "01-19 02:00"]
        assert following(weekdays, "2026-07-17 00:00", 2) == ["07-17 01:00", "07-20 01:00"]

    def test_a_time_that_the_clock_skips_comes_when_it_has_been_put_forward(self) -> None:
        # On 29 March 2026, 2:00 is 3:00.
        expected = ["03-28 01:30", "03-29 01:00", "03-30 00:30"]

        assert following(Calendar(cron="30 2 * * *"), "2026-03-28 00:00", 3) == expected

    def test_a_time_that_the_clock_passes_twice_comes_twice(self) -> None:
        # On 25 October 2026, 3:00 is 2:00.
        expected = ["10-24 00:30", "10-25 00:30", "10-25 01:30", "10-26 01:30"]

        assert following(Calendar(cron="30 2 * * *"), "2026-10-24 00:00", 4) == expected

    def test_a_time_outside_those_hours_comes_once_a_day(self) -> None:
        daily = Calendar(cron="30 4 * * *")

        spring = ["03-28 03:30", "03-29 02:30", "03-30 02:30"]
        assert following(daily, "2026-03-28 00:00", 3) == spring
        autumn = ["10-24 02:30", "10-25 03:30", "10-26 03:30"]
        assert following(daily, "2026-10-24 00:00", 3) == autumn

    @pytest.mark.parametrize("line", ["*/20 * * * *", "0,20,40 * * * *"])
    def test_minutes_go_on_through_both_changes_without_a_gap(self, line: str) -> None:
        through = ["00:40", "01:00", "01:20", "01:40", "02:00"]

        spring = following(Calendar(cron=line), "2026-03-29 00:20", 5)
        autumn = following(Calendar(cron=line), "2026-10-25 00:20", 5)

        assert spring == [f"03-29 {at}" for at in through]
        assert autumn == [f"10-25 {at}" for at in through]

    def test_a_site_with_naive_times_has_the_same_moments(self, settings: Any) -> None:
        settings.USE_TZ = False

        expected = ["10-25 00:30", "10-25 01:30", "10-26 01:30"]
        assert following(Calendar(cron="30 2 * * *"), "2026-10-25 00:00", 3) == expected

    def test_a_moment_itself_is_the_latest_and_not_the_next(self) -> None:
        daily = Calendar(cron="0 12 * * *")
        noon = utc("2026-01-16 11:00")

        assert daily.latest(noon) == daily.latest(noon + timedelta(milliseconds=1)) == noon
        assert daily.next(noon) == noon + timedelta(days=1)
        assert daily.next(noon - timedelta(milliseconds=1)) == noon

    @pytest.mark.parametrize(
        "line",
        [
            *("", "nonsense", "* * * *", "* * * * * *", "@daily", "61 * * * *", "0 0 30 2 *"),
            *(
                "R R * * *",
                "h * * * *",
                "r(0-5) * * * *",
                "0 0 * * fry",
                "*/0 * * * *",
                "0 3 * *\0 1",
            ),
        ],
    )
    def test_a_wrong_one_is_refused_with_an_example(self, line: str) -> None:
        with pytest.raises(ValueError, match="cron must be a cron line of five fields, such as"):
            as_cron("cron", line)

    def test_a_right_one_is_kept_with_single_spaces(self) -> None:
        assert as_cron("cron", " 0  3 * *\tMON-FRI ") == "0 3 * * MON-FRI"

    def test_without_croniter_its_fields_are_counted_and_no_moment_is_known(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(calendars, "croniter", None)

        assert as_cron("cron", "61 * * * *") == "61 * * * *"
        with pytest.raises(ValueError, match="five fields"):
            as_cron("cron", "* * *")
        with pytest.raises(ImportError, match=r"pip install 'django-retrytasks\[periodic\]'"):
            Calendar(cron="* * * * *").next(utc("2026-01-16 00:00"))


class TestLengthsOfTime:
    def test_they_are_counted_from_1970_in_utc_whatever_the_clock_shows(self) -> None:
        expected = ["03-29 00:50", "03-29 01:00", "03-29 01:10"]
        assert following(Calendar(every=600), "2026-03-29 00:40", 3) == expected

        expected = ["10-25 00:00", "10-26 00:00"]
        assert following(Calendar(every=86_400), "2026-10-24 00:00", 2) == expected

    @pytest.mark.parametrize("wrong", [0, 9, -60, 10.5, 366 * 86_400 + 1, float("nan")])
    def test_a_wrong_one_is_refused(self, wrong: float) -> None:
        with pytest.raises(ValueError, match="every must be"):
            as_every("every", wrong)

    @pytest.mark.parametrize("wrong", ["10", True, None])
    def test_another_type_is_refused(self, wrong: object) -> None:
        with pytest.raises(TypeError, match="every must be seconds"):
            as_every("every", wrong)

    @pytest.mark.parametrize("right", [600, 600.0, timedelta(minutes=10)])
    def test_a_right_one_is_kept_in_seconds(self, right: object) -> None:
        assert as_every("every", right) == 600


class TestComing:
    hourly = Calendar(every=3600)

    def coming(self, after: str, now: str, until: str) -> list[str]:
        found = self.hourly.coming(after=utc(after), now=utc(now), until=utc(until))
        return [f"{moment:%d %H:%M}" for moment in found]

    def test_each_moment_up_to_the_end_comes(self) -> None:
        found = self.coming("2026-01-16 09:00", "2026-01-16 09:30", "2026-01-16 12:00")

        assert found == ["16 10:00", "16 11:00", "16 12:00"]

    def test_of_those_that_have_passed_only_the_latest(self) -> None:
        found = self.coming("2026-01-10 09:00", "2026-01-16 09:30", "2026-01-16 10:00")

        assert found == ["16 09:00", "16 10:00"]

    def test_none_comes_again(self) -> None:
        assert self.coming("2026-01-16 10:00", "2026-01-16 09:59", "2026-01-16 10:59") == []

    def test_the_reach_is_the_longest_time_from_one_to_the_next_but_one(self) -> None:
        now = utc("2026-01-16 09:00")
        days = timedelta(seconds=Calendar(cron="0 3 * * 1-5").reach(now))

        assert self.hourly.reach(now) == 7200
        assert days == timedelta(days=4)
