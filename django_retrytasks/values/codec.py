"""Turn arguments and return values into ASCII JSON text and back.

Besides JSON's own types it keeps datetime, date, time, timedelta, Decimal and UUID, each as an
object `{"__type__": ..., "value": ...}`. A tuple becomes a list, an instance of a subclass (a
TextChoices member, a SafeString) its plain value, and a surrogate pair in a str the character that
it encodes.
"""

from __future__ import annotations

import json
import math
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Mapping,
)
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from reprlib import repr as short_repr
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.utils.functional import Promise

TAG: Final = "__type__"
MAX_DEPTH: Final = 100

Path = tuple[str | int, ...]  # the argument's name, then keys and indexes


class NotStorable(TypeError):
    """Raised for a value that cannot be stored.

    Attributes:
        what: the type or the key that cannot be stored.
        path: its place: the name of the whole value, then keys and indexes.
        fix: how to fix the call.
    """

    def __init__(self, what: str, path: Path, fix: str) -> None:
        super().__init__(what, path, fix)
        self.what, self.path, self.fix = what, path, fix

    def __str__(self) -> str:
        return f"{self.path[0]} cannot be stored: {self.problem}"

    @property
    def problem(self) -> str:
        """Return the type, its place and the fix, in words."""
        return f"{self.what} at {_shown(self.path)}; {self.fix}"


def dumps(value: Any, root: Path = ("value",)) -> str:
    """Return a value as compact ASCII JSON.

    Args:
        root: first part of the path in an error; (): the path begins with an index or a key.

    Raises:
        NotStorable: the value holds another type, a dict key that is no str, an int too long to
            print, more than 100 levels or a cycle; the message says where, and how to fix it.
    """
    return _quick_text(value) or _text(_plain(value, root))


def loads(text: str) -> Any:
    """Return the value of a text from `dumps`. An object with an unknown tag stays a dict.

    Whatever it returns, `dumps` accepts as the parts of a value (``root=()``).

    Raises:
        ValueError: the text is no JSON, or has more than 100 levels.
        Exception: a tagged object is invalid; the error is its type's.
    """
    value = _loads_tagged(text) if TAG in text else _loads_plain(text)
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_too_deep(value):
        raise ValueError(f"more than {MAX_DEPTH} levels")
    return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [part for item in level for part in _parts(item)]
    return bool(level)


def _parts(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


_text = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _quick_text(value: Any) -> str | None:
    """Return the text at C speed; None: the value may need tags, so it must be walked."""
    try:
        text = _text(value)
    except (TypeError, ValueError, RecursionError):
        return None
    return text if text == "{}" or _needs_no_tags(value) else None


def _needs_no_tags(value: Any) -> bool:
    """Whether a value accepted by JSON has few levels and only str keys other than the tag.

    JSON would write the key 1 as "1", and a dict with the tag as a tagged object.
    """
    level = [value]
    for _ in range(MAX_DEPTH - 1):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if TAG in item or not _STR.issuperset(map(type, item)):
                    return False
                deeper += item.values()
            elif isinstance(item, (list, tuple)):
                deeper += item
        if _SCALARS.issuperset(map(type, deeper)):
            return True
        level = deeper
    return False


_STR: Final = frozenset({str})
_SCALARS: Final = frozenset({str, int, float, bool, type(None)})


def _plain(value: Any, path: Path) -> Any:
    """Return the value in JSON's own types, tagged where these do not suffice."""
    if len(path) > MAX_DEPTH:
        fix = f"nest at most {MAX_DEPTH} levels, without cycles"
        raise NotStorable(type(value).__name__, path, fix)
    for kind in type(value).__mro__:
        if kind in _PLAIN:
            return _PLAIN[kind](value, path)
    raise NotStorable(type(value).__name__, path, _fix(value))


def _as_is(value: Any, path: Path) -> Any:
    return value


def _plain_int(value: int, path: Path) -> int:
    try:
        int.__repr__(value)
    except ValueError:
        raise NotStorable("int", path, "too long to print: pass it as a hex str") from None
    return value


def _plain_float(value: float, path: Path) -> Any:
    return value if math.isfinite(value) else _tagged("float", float.__repr__(value))


def _plain_list(value: Iterable[Any], path: Path) -> list[Any]:
    return [_plain(item, (*path, index)) for index, item in enumerate(value)]


def _plain_dict(value: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise NotStorable(f"{type(key).__name__} key {short_repr(key)}", path, "use str keys")
    plain = {key: _plain(item, (*path, key)) for key, item in value.items()}
    return _tagged("dict", list(plain.items())) if TAG in plain else plain


def _zone_and_fold(value: datetime | time) -> dict[str, Any]:
    zone = value.tzinfo.key if isinstance(value.tzinfo, ZoneInfo) else None
    return ({"zone": zone} if zone else {}) | ({"fold": 1} if value.fold else {})


def _tagged(name: str, value: Any) -> dict[str, Any]:
    return {TAG: name, "value": value}


_PLAIN: Final[dict[type, Callable[[Any, Path], Any]]] = {
    str: _as_is,
    bool: _as_is,
    type(None): _as_is,
    int: _plain_int,
    float: _plain_float,
    list: _plain_list,
    tuple: _plain_list,
    dict: _plain_dict,
    datetime: lambda v, path: _tagged("datetime", datetime.isoformat(v)) | _zone_and_fold(v),
    time: lambda v, path: _tagged("time", time.isoformat(v)) | _zone_and_fold(v),
    date: lambda v, path: _tagged("date", date.isoformat(v)),
    timedelta: lambda v, path: _tagged("timedelta", [v.days, v.seconds, v.microseconds]),
    Decimal: lambda v, path: _tagged("Decimal", Decimal.__str__(v)),
    UUID: lambda v, path: _tagged("UUID", UUID.__str__(v)),
}


def _fix(value: Any) -> str:
    if hasattr(value, "_meta") and hasattr(value, "pk"):
        return "pass its primary key"
    for kinds, fix in _FIXES:
        if isinstance(value, kinds):
            return fix
    return "pass JSON types, datetime, date, time, timedelta, Decimal or UUID"


_FIXES: Final[tuple[tuple[Any, str], ...]] = (
    (Promise, "call str() on it"),
    ((bytes, bytearray, memoryview), "decode it"),
    (Enum, "pass its value"),
    ((Generator, AsyncGenerator), "its body has not run to its end: pass a list of its values"),
    (Awaitable, "its body has not run: await it"),
    (Mapping, "pass a dict"),
    (Iterable, "pass a list"),
)


def _shown(path: Path) -> str:
    if len(path) > MAX_DEPTH:
        return f"{_shown(path[:4])}…"
    name, *steps = path
    return f"{name}{''.join(map(_step, steps))}"


def _step(step: str | int) -> str:
    return f".{step}" if isinstance(step, str) and step.isidentifier() else f"[{short_repr(step)}]"


def _read_moment(kind: type[Any], value: str, zone: str = "", fold: int = 0) -> Any:
    moment = kind.fromisoformat(value)
    return moment.replace(tzinfo=_zone(zone) or moment.tzinfo, fold=fold)


def _zone(key: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(key) if key else None
    except ZoneInfoNotFoundError:  # unknown on this machine: the offset in the text remains
        return None


def _read_dict(value: Any) -> dict[str, Any]:
    read = dict(value)
    if not _STR.issuperset(map(type, read)):
        raise ValueError("a key is no text")
    return read


_READ: Final[dict[str, Callable[..., Any]]] = {
    "datetime": partial(_read_moment, datetime),
    "date": date.fromisoformat,
    "time": partial(_read_moment, time),
    "timedelta": lambda value: timedelta(*value),
    "Decimal": Decimal,
    "UUID": UUID,
    "float": float,
    "dict": _read_dict,
}


def _untagged(item: dict[str, Any]) -> Any:
    name = item.get(TAG)
    if not isinstance(name, str) or name not in _READ:
        return item
    details = {key: value for key, value in item.items() if key not in (TAG, "value")}
    return _READ[name](item["value"], **details)


_decoder = json.JSONDecoder()


def _loads_plain(text: str) -> Any:
    if text[:1] in "[{":
        # Quicker than `decode`, which looks for blanks around the value.
        value, end = _decoder.raw_decode(text)
        if end == len(text):
            return value
    return _decoder.decode(text)


_loads_tagged = json.JSONDecoder(object_hook=_untagged).decode
