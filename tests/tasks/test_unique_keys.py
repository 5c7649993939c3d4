"""Which calls have one unique key, and which values of the options are refused."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.db.models import F

from django_retrytasks import retry_task
from django_retrytasks.models import Task
from tests.support import unique
from tests.support.driver import Driver

decorate: Any = retry_task
says_its_key: Any = unique.says_its_key


def sends(order: int, address: str = "", *, token: str = "") -> None: ...


def takes_any(*args: Any, **kwargs: Any) -> None: ...


def key_of(driver: Driver, called: Any, *args: Any, **kwargs: Any) -> UUID:
    result = called.enqueue(*args, **kwargs)
    key = driver.row(result).unique_key
    Task.objects.filter(pk=result.id).delete()
    assert key is not None
    return key


@pytest.mark.django_db
class TestKeys:
    def test_the_spelling_of_a_call_and_its_defaults_do_not_matter(self, driver: Driver) -> None:
        calls: list[Any] = [
            (("/a",), {}),
            ((), {"url": "/a"}),
            (("/a", 1), {}),
            ((), {"told": "", "page": 1, "url": "/a"}),
        ]

        keys = {key_of(driver, unique.imports_feed, *args, **kwargs) for args, kwargs in calls}

        assert len(keys) == 1

    def test_the_order_in_mappings_does_not_matter_that_in_lists_does(self, driver: Driver) -> None:
        def key(value: Any, **filters: Any) -> UUID:
            return key_of(driver, unique.imports_feed, "/a", told="", value=value, **filters)

        assert key({"a": 1, "b": {"c": 2, "d": 3}}, x=1, y=2) == key(
            {"b": {"d": 3, "c": 2}, "a": 1}, y=2, x=1
        )
        assert key({"__type__": 1, "a": {"b": 2, "__type__": 3}}) == key(
            {"a": {"__type__": 3, "b": 2}, "__type__": 1}
        )
        assert key([1, 2]) != key([2, 1])

    @pytest.mark.parametrize("called", [unique.ships_once, unique.imports_feed])
    def test_values_that_differ_have_keys_that_differ(self, called: Any, driver: Driver) -> None:
        values = [
            1,
            "1",
            1.5,
            True,
            None,
            "",
            " ",
            "A",
            "a",
            "ä",
            "\udc80",
            [1],
            {"a": 1},
            "x" * 5000,
            "x" * 5001,
            Decimal(1),
            UUID(int=1),
            str(UUID(int=1)),
            date(2030, 1, 1),
            datetime(2030, 1, 1, tzinfo=UTC),
            timedelta(1),
        ]

        keys = {key_of(driver, called, value) for value in values}

        assert len(keys) == len(values)

    def test_every_key_is_one_that_the_database_stores(self, driver: Driver) -> None:
        # MariaDB takes not every UUID.
        results = unique.ships_once.enqueue_many([(n,) for n in range(1000)])

        assert Task.objects.filter(held_key=F("unique_key")).count() == len(results) == 1000
        assert {key and key.version for key in Task.objects.values_list("held_key", flat=True)} == {
            8
        }

    def test_another_function_has_other_keys(self, driver: Driver) -> None:
        assert key_of(driver, unique.ships_once, 1) != key_of(driver, unique.reminds, 1)

    def test_other_arguments_than_the_named_one_do_not_matter(self, driver: Driver) -> None:
        first = key_of(driver, unique.ships_once, 1, "post")

        assert key_of(driver, unique.ships_once, order=1, carrier="rider", fails=True) == first

    def test_a_default_that_cannot_be_stored_counts_as_one_value(self, driver: Driver) -> None:
        called = unique.has_a_default_that_cannot_be_stored

        assert key_of(driver, called) == key_of(driver, called)
        assert key_of(driver, called) != key_of(driver, called, None)

    def test_a_long_text_of_a_callable_fits(self, driver: Driver) -> None:
        keys = {key_of(driver, says_its_key, "x" * n) for n in (1, 10_000, 10_001)}

        assert len(keys) == 3


@pytest.mark.django_db
class TestCallables:
    def test_one_that_fails_is_named_and_nothing_is_stored(self) -> None:
        with pytest.raises(ValueError, match="unique raised KeyError") as caught:
            says_its_key.enqueue("raise")

        assert str(caught.value) == f"{says_its_key.name}(): unique raised KeyError"
        assert isinstance(caught.value.__cause__, KeyError)
        assert not Task.objects.exists()

    @pytest.mark.parametrize("made", [None, 7, ["a"], {"a": 1}])
    def test_one_that_returns_no_text_is_refused(self, made: Any) -> None:
        kind = type(made).__name__

        with pytest.raises(TypeError, match=rf"unique must return a text, not a {kind}"):
            says_its_key.enqueue(made)

    def test_one_that_returns_an_empty_text_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unique returned an empty text"):
            says_its_key.enqueue("")


class TestOptions:
    @pytest.mark.parametrize("wrong", [1, None, "", ["order"], 0])
    def test_another_kind_of_unique_is_refused(self, wrong: Any) -> None:
        with pytest.raises(TypeError, match="sends: unique must be True, the name of a parameter"):
            decorate(unique=wrong)(sends)

    def test_an_unknown_name_is_told_with_the_nearest(self) -> None:
        with pytest.raises(TypeError) as caught:
            decorate(unique="ordr")(sends)

        assert str(caught.value) == (
            "sends: unique names 'ordr', which is no parameter. Did you mean \"order\"?"
        )

    def test_any_name_goes_where_the_function_takes_all(self) -> None:
        assert decorate(unique="order")(takes_any).unique == "order"

    @pytest.mark.parametrize("unique", ["token", True])
    def test_a_sensitive_parameter_makes_no_key(self, unique: Any) -> None:
        with pytest.raises(TypeError, match="sends: unique uses 'token', which is sensitive"):
            decorate(unique=unique, sensitive=["token"])(sends)

        assert decorate(unique="order", sensitive=["token"])(sends).unique == "order"

    @pytest.mark.parametrize("unique", [{}, {"unique": False}])
    def test_a_period_needs_unique(self, unique: Any) -> None:
        with pytest.raises(TypeError, match="sends: unique_for needs unique"):
            decorate(unique_for=60, **unique)(sends)

    @pytest.mark.parametrize("wrong", [0, -1, 367 * 86400, float("nan")])
    def test_a_period_out_of_range_is_refused(self, wrong: Any) -> None:
        with pytest.raises(ValueError, match="sends: unique_for must be above 0"):
            decorate(unique=True, unique_for=wrong)(sends)

    def test_a_period_is_seconds_or_a_timedelta(self) -> None:
        period = timedelta(minutes=1)

        assert decorate(unique=True, unique_for=period)(sends).unique_for == 60.0

    def test_a_call_cannot_change_it(self) -> None:
        with pytest.raises(TypeError, match="unknown option 'unique'"):
            decorate(sends).using(unique=True)
