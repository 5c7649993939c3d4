"""What is stored comes back as what it was; what cannot be stored is refused by name and place."""

import json
import math
from collections import OrderedDict, namedtuple
from collections.abc import AsyncGenerator, Callable, Generator
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db.models.enums import TextChoices
from django.utils.functional import SimpleLazyObject
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_retrytasks.values.codec import NotStorable, dumps, loads

BERLIN = ZoneInfo("Europe/Berlin")
SURROGATE_PAIR = r"[\ud800-\udbff][\udc00-\udfff]"


class Size(TextChoices):
    SMALL = "S"


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


class Order:
    """A Django model instance by its looks."""

    _meta = object()
    pk = 7


class Refusing:
    """A value that is not even to be asked for its text."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")


Point = namedtuple("Point", "x y")


def joined(text: str) -> str:
    """Return the text with surrogate pairs joined, the one thing the codec does to a str."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


texts = (st.text() | st.text(st.characters(categories=["Cs", "Cc", "Lu"]))).map(joined)
offsets = st.integers(-86_399, 86_399).map(lambda seconds: timezone(timedelta(seconds=seconds)))
zones = st.none() | st.timezones() | offsets
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**4_000), 10**4_000)
    | st.floats()
    | texts
    | st.datetimes(timezones=zones, allow_imaginary=True)
    | st.dates()
    | st.times(timezones=zones)
    | st.timedeltas()
    | st.decimals()
    | st.uuids(allow_nil=True)
)
names = texts | st.sampled_from(["__type__", "value", "datetime", "dict", "zone", "fold"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(names, inner, max_size=5),
    max_leaves=20,
)


# A busy machine is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def exactly(value: Any) -> Any:
    """Return a value's types and every detail in comparable form (nan is not equal to itself)."""
    if isinstance(value, list):
        return [exactly(item) for item in value]
    if isinstance(value, dict):
        return {key: exactly(item) for key, item in value.items()}
    if isinstance(value, datetime | time):
        zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else value.utcoffset()
        return type(value), value.replace(tzinfo=None), zone, value.fold
    return type(value), repr(value)


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def refusal(function: Callable[[], object]) -> str:
    with pytest.raises(TypeError) as refused:
        function()
    assert type(refused.value) is NotStorable
    return str(refused.value)


class TestRoundTrip:
    @unhurried
    @given(values)
    def test_every_value_comes_back_as_what_it_was(self, value: Any) -> None:
        text = dumps(value)

        assert text.isascii()
        assert exactly(loads(text)) == exactly(value)

    @unhurried
    @given(values)
    def test_the_text_is_json_for_everyone(self, value: Any) -> None:
        def refuse(constant: str) -> None:
            raise AssertionError(constant)

        json.loads(dumps(value), parse_constant=refuse)

    @pytest.mark.parametrize(
        "value",
        [
            {"__type__": "datetime", "value": "2030-05-17"},
            {"__type__": "dict", "value": [["__type__", 1]]},
            {"__type__": {"__type__": []}},
            [{"a": {"__type__": None, "b": {"__type__": UUID(int=1)}}}],
            "__type__",
            '{"__type__": "date", "value": "2030-05-17"}',
            "\0 \ud800 \udfff\ud800 🐘 {[",
            datetime(2030, 5, 17, 1, 2, 3, 4),
            datetime(2030, 5, 17, tzinfo=UTC),
            datetime(2030, 5, 17, 1, 2, 3, 4, tzinfo=timezone(timedelta(hours=-3, seconds=5))),
            datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=0),
            datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1),
            datetime(2024, 3, 31, 2, 30, tzinfo=BERLIN),
            datetime.min,
            datetime.max,
            time(23, 59, tzinfo=BERLIN, fold=1),
            timedelta.min,
            timedelta.max,
            timedelta(microseconds=-1),
            Decimal("1.10"),
            Decimal("-0E-30"),
            Decimal("sNaN123"),
            -0.0,
            math.inf,
            math.nan,
            10**4_000,
            {},
            [],
            [[], {}, [{}]],
            nested(100),
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_by_hand(self, value: Any) -> None:
        assert exactly(loads(dumps(value))) == exactly(value)

    def test_an_ambiguous_hour_keeps_its_offset(self) -> None:
        second = datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN, fold=1)

        assert loads(dumps(second)).utcoffset() == timedelta(hours=1)

    @pytest.mark.parametrize(
        ("value", "stored_as"),
        [
            ((1, (2,)), [1, [2]]),
            (Point(1, 2), [1, 2]),
            (Size.SMALL, "S"),
            (Level.HIGH, 3),
            (SafeString("<b>"), "<b>"),
            (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
            ({Size.SMALL: Size.SMALL}, {"S": "S"}),
            ([Level.HIGH, date(2030, 5, 17)], [3, date(2030, 5, 17)]),
            ("\ud83d\udc18", "🐘"),
        ],
        ids=repr,
    )
    def test_what_comes_back_as_its_plain_value(self, value: Any, stored_as: Any) -> None:
        assert exactly(loads(dumps(value))) == exactly(stored_as)


class TestText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ([42, "é", None, True, 1.5], '[42,"\\u00e9",null,true,1.5]'),
            ({"a": {"b": []}}, '{"a":{"b":[]}}'),
            (
                datetime(2030, 5, 17, 14, tzinfo=BERLIN),
                '{"__type__":"datetime","value":"2030-05-17T14:00:00+02:00",'
                '"zone":"Europe/Berlin"}',
            ),
            (time(14, fold=1), '{"__type__":"time","value":"14:00:00","fold":1}'),
            (date(2030, 5, 17), '{"__type__":"date","value":"2030-05-17"}'),
            (timedelta(1, 2, 3), '{"__type__":"timedelta","value":[1,2,3]}'),
            (Decimal("1.10"), '{"__type__":"Decimal","value":"1.10"}'),
            (
                UUID(int=1),
                '{"__type__":"UUID","value":"00000000-0000-0000-0000-000000000001"}',
            ),
            (math.inf, '{"__type__":"float","value":"inf"}'),
            ({"__type__": 1}, '{"__type__":"dict","value":[["__type__",1]]}'),
        ],
        ids=repr,
    )
    def test_it_stays_readable_by_later_versions(self, value: Any, text: str) -> None:
        assert dumps(value) == text
        assert exactly(loads(text)) == exactly(value)

    @pytest.mark.parametrize("tag", ["Fraction", 1, None, [], {}])
    def test_an_unknown_tag_stays_a_dict(self, tag: Any) -> None:
        stored = {"__type__": tag, "value": "1/3"}

        assert loads(json.dumps([stored])) == [stored]

    def test_a_zone_this_machine_does_not_know_leaves_the_offset(self) -> None:
        text = '{"__type__":"datetime","value":"2030-05-17T14:00:00+02:00","zone":"Mars/Olympus"}'

        assert loads(text) == datetime(2030, 5, 17, 12, tzinfo=UTC)

    def test_what_is_no_json_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="Expecting"):
            loads("{")

    @pytest.mark.parametrize("levels", [103, 960, 5000])
    def test_what_has_more_levels_than_can_be_stored_is_an_error(self, levels: int) -> None:
        with pytest.raises((ValueError, RecursionError)):
            loads("[" * levels + "]" * levels)

    @pytest.mark.parametrize("levels", [1, 99, 101])
    def test_what_it_returns_can_be_stored_again(self, levels: int) -> None:
        text = "[" * levels + "]" * levels

        assert dumps(loads(text), root=()) == text
        assert dumps(loads("[" + ",".join(["[]"] * 500) + "]"), root=()).count("[]") == 500

    def test_a_key_that_is_no_text_is_a_value_error(self) -> None:
        with pytest.raises(ValueError, match="a key is no text"):
            loads('{"__type__":"dict","value":[[1,2]]}')


async def yields() -> AsyncGenerator[int]:
    yield 1


class Waits:
    """Stands for a coroutine, which would warn that it was never awaited."""

    def __await__(self) -> Generator[None]:
        yield


class TestRefusal:
    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ({"items": [1, Order()]}, "Order at value.items[1]; pass its primary key"),
            (
                SimpleLazyObject(Order),
                "SimpleLazyObject at value; pass its primary key",
            ),
            (b"x", "bytes at value; decode it"),
            ([bytearray(b"x")], "bytearray at value[0]; decode it"),
            ([[], [{1, 2}]], "set at value[1][0]; pass a list"),
            (range(3), "range at value; pass a list"),
            (
                (n for n in range(3)),
                "generator at value; its body has not run to its end: pass a list of its values",
            ),
            (
                {"rows": yields()},
                "async_generator at value.rows; its body has not run to its end: pass a list of "
                "its values",
            ),
            ([Waits()], "Waits at value[0]; its body has not run: await it"),
            (gettext_lazy("Order"), "__proxy__ at value; call str() on it"),
            ({"a b": Colour.RED}, "Colour at value['a b']; pass its value"),
            ({"a": {1: 2}}, "int key 1 at value.a; use str keys"),
            ({None: 2}, "NoneType key None at value; use str keys"),
            ([{True: 2}], "bool key True at value[0]; use str keys"),
            ({date(2030, 5, 17): 2}, "date key datetime.date(2030, 5, 17) at value; use str keys"),
            ({1.5: date(2030, 5, 17)}, "float key 1.5 at value; use str keys"),
            (10**5_000, "int at value; too long to print: pass it as a hex str"),
            (
                [Refusing()],
                "Refusing at value[0]; pass JSON types, datetime, date, time, timedelta, "
                "Decimal or UUID",
            ),
            (
                {"k" * 40: b""},
                "bytes at value." + "k" * 40 + "; decode it",
            ),
            (
                {" " * 40: b""},
                "bytes at value['            ...             ']; decode it",
            ),
            (
                1j,
                "complex at value; pass JSON types, datetime, date, time, timedelta, "
                "Decimal or UUID",
            ),
            (nested(101), "list at value[0][0][0]…; nest at most 100 levels, without cycles"),
            (nested(50_000), "list at value[0][0][0]…; nest at most 100 levels, without cycles"),
        ],
        ids=lambda value: None if isinstance(value, str) else type(value).__name__,
    )
    def test_it_says_what_where_and_the_way_out(self, value: Any, problem: str) -> None:
        assert refusal(lambda: dumps(value)) == f"value cannot be stored: {problem}"

    def test_a_key_that_cannot_be_shown(self) -> None:
        message = refusal(lambda: dumps({Refusing(): 1}))

        assert message.startswith("value cannot be stored: Refusing key <Refusing instance at ")

    @pytest.mark.parametrize("innermost", [1, date(2030, 5, 17)])
    def test_the_innermost_value_counts_as_a_level(self, innermost: object) -> None:
        value = nested(100)
        deepest = value
        while deepest:
            deepest = deepest[0]
        deepest.append(innermost)

        assert refusal(lambda: dumps(value)) == (
            f"value cannot be stored: {type(innermost).__name__} at value[0][0][0]…; "
            "nest at most 100 levels, without cycles"
        )

    def test_a_cycle(self) -> None:
        order: dict[str, Any] = {"lines": []}
        order["lines"].append(order)

        assert refusal(lambda: dumps(order)) == (
            "value cannot be stored: dict at value.lines[0].lines…; "
            "nest at most 100 levels, without cycles"
        )

    def test_a_deep_dict_is_held_to_the_same_depth(self) -> None:
        value: dict[str, Any] = {}
        for _ in range(100):
            value = {"a": value}

        assert refusal(lambda: dumps(value)) == (
            "value cannot be stored: dict at value.a.a.a…; nest at most 100 levels, without cycles"
        )

    def test_a_key_is_found_beside_a_great_many_good_ones(self) -> None:
        rows: list[Any] = [{"id": number} for number in range(1_000)]
        rows[700][7] = "seven"

        assert refusal(lambda: dumps(rows)) == (
            "value cannot be stored: int key 7 at value[700]; use str keys"
        )
