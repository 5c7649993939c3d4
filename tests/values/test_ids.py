"""Ids sort by time, and in the order they were made."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.utils import timezone

from django_retrytasks.values.ids import uuid7, uuid7_of

A_MINUTE = 60 * 10**9


def made(count: int) -> list[UUID]:
    return [uuid7() for _ in range(count)]


def milliseconds(made: UUID) -> int:
    return made.int >> 80


class Clock:
    """Stands still until a test moves it."""

    def __init__(self, nanoseconds: int) -> None:
        self.now = nanoseconds

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    # Ahead of ids that were made by the real clock.
    clock = Clock(time.time_ns() + 60 * A_MINUTE)
    monkeypatch.setattr(time, "time_ns", clock)
    return clock


class TestUuid7:
    def test_is_a_version_7_of_now(self) -> None:
        before = time.time_ns() // 10**6
        [one] = made(1)

        assert (one.version, one.variant) == (7, "specified in RFC 4122")
        assert before <= milliseconds(one) <= time.time_ns() // 10**6 + 1

    def test_sorts_in_the_order_made(self) -> None:
        ids = made(20_000)

        assert ids == sorted(ids)
        assert len(set(ids)) == len(ids)

    def test_sorts_while_the_clock_stands(self, clock: Clock) -> None:
        ids = made(10_000)

        assert ids == sorted(ids)
        assert milliseconds(ids[0]) == clock.now // 10**6

    def test_sorts_over_a_small_step_back(self, clock: Clock) -> None:
        ids = made(3)
        clock.now -= 10**8

        assert (ids := ids + made(3)) == sorted(ids)

    def test_follows_a_clock_that_was_set_back(self, clock: Clock) -> None:
        made(3)
        clock.now -= A_MINUTE
        ids = made(3)

        assert milliseconds(ids[0]) == clock.now // 10**6
        assert ids == sorted(ids)

    def test_ids_of_threads_differ_and_sort_in_each(self) -> None:
        with ThreadPoolExecutor(4) as pool:
            several = list(pool.map(made, [5_000] * 4))

        assert len({each for ids in several for each in ids}) == 20_000
        assert all(ids == sorted(ids) for ids in several)


class TestUuid7Of:
    AT = datetime(2026, 3, 4, 5, 6, 7, 891_234, tzinfo=UTC)

    def test_is_the_same_for_the_same(self) -> None:
        assert uuid7_of(self.AT, b"12345678") == uuid7_of(self.AT, b"12345678")
        assert uuid7_of(self.AT, b"12345678") != uuid7_of(self.AT, b"87654321")
        assert uuid7_of(self.AT, b"12345678").version == 7

    def test_sorts_by_the_microsecond(self) -> None:
        later = self.AT + timedelta(microseconds=1)

        assert uuid7_of(self.AT, bytes([255] * 8)) < uuid7_of(later, bytes(8))

    def test_takes_a_naive_moment_as_one_of_the_sites_time_zone(self) -> None:
        naive = self.AT.astimezone(timezone.get_default_timezone()).replace(tzinfo=None)

        assert uuid7_of(naive, bytes(8)) == uuid7_of(self.AT, bytes(8))

    def test_is_before_all_ids_made_since(self) -> None:
        first = uuid7_of(datetime.now(UTC), bytes(8))

        assert first <= uuid7()

    def test_begins_in_1970_at_the_earliest(self) -> None:
        assert milliseconds(uuid7_of(datetime(1969, 1, 1, tzinfo=UTC), bytes(8))) == 0
