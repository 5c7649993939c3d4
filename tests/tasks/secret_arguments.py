"""Secrets, tasks that take them, and ways to raise an exception that quotes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django_retrytasks import retry_task
from django_retrytasks.models import Task

STARS = "********************"
SECRET = "DE02-1203-hunter2"
LINES = "-----BEGIN KEY-----\nthe-key-of-hunter2\n-----END KEY-----"
APOSTROPHE = "hunter2's \\ own"
QUOTED = 'it\'s a "hunter2" \\ of über'


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


@retry_task(max_retries=0)
def empties(options: dict[str, Any], *, lists: list[dict[str, Any]]) -> None:
    """Take the secrets out of what was given, then quote them."""
    raise ConnectionError(f"refused: {options.pop('password')} {lists.pop()['token']}")


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


def row(to: Any, *args: Any, **kwargs: Any) -> Task:
    """Return a Task that has not been stored, its arguments as they come back from storage."""
    return Task(name=to.module_path, args=list(args), kwargs=kwargs)
