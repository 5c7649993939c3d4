"""Tasks whose functions leave a mess: in their exceptions, on their connections, around them."""

from __future__ import annotations

import asyncio
import decimal
import functools
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from django.db import connection, transaction
from django.utils import timezone, translation

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task
from django_retrytasks.policy import PolicyOptions

ONCE_MORE: PolicyOptions = {"max_retries": 1, "countdown": 0, "jitter": False}


# Exceptions


@retry_task(**ONCE_MORE)
def raises_from_itself() -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        raise error from error


class Wrapped(Exception):
    pass


@retry_task(**ONCE_MORE)
def raises_the_cause_of_its_wrapper() -> None:
    try:
        try:
            raise ZeroDivisionError("the cause")
        except ZeroDivisionError as error:
            raise Wrapped from error
    except Wrapped as error:
        raise error.__cause__ or error


@retry_task(**ONCE_MORE)
def raises_a_long_chain() -> None:
    error: Exception | None = None
    for number in range(5000):
        try:
            raise ValueError(number) from error
        except ValueError as link:
            error = link
    assert error is not None
    raise error


@retry_task(**ONCE_MORE)
def raises_a_deep_group() -> None:
    error: Exception = ValueError("the leaf")
    for _ in range(3000):
        error = ExceptionGroup("nested", [error])
    raise error


class Untrue(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("no truth")


class Unequal(Exception):
    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not comparable")

    __hash__ = None  # type: ignore[assignment]


class Causeless(Exception):
    __cause__ = property(lambda self: 1 / 0)
    __context__ = property(lambda self: 1 / 0)


class Nobody(Exception):
    __class__ = property(lambda self: 1 / 0)


class Exits(Exception):
    def __str__(self) -> str:
        raise SystemExit(1)


class Nameless(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__qualname__", "__module__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Unnamed(Exception, metaclass=Nameless):
    pass


class Demanding(Exception):
    @property
    def retry_after(self) -> float:
        raise SystemExit(1)


STRANGE: dict[str, Callable[[], Exception]] = {
    "no truth": Untrue,
    "no equal": Unequal,
    "no cause": Causeless,
    "no class": Nobody,
    "exits": Exits,
    "no name": Unnamed,
    "demanding": Demanding,
}


@retry_task(**ONCE_MORE)
def raises_strange(kind: str) -> None:
    raise STRANGE[kind]()


class Endless(Exception):
    def __str__(self) -> str:
        time.sleep(60)
        return "never said"


@retry_task(max_retries=0, timeout=1)
def raises_endless() -> None:
    raise Endless


class Errors(Exception):
    """Such as a form's: false while it is empty."""

    def __len__(self) -> int:
        return 0


@retry_task(max_retries=0)
def raises_falsy() -> None:
    raise Errors


@retry_task(bind=True, max_retries=0)
def retries_falsy(self: RetryTaskContext) -> None:
    raise self.retry(exc=Errors())


MADE_ONCE = ValueError("made once")


@retry_task(max_retries=3, countdown=0)
def raises_the_same() -> None:
    raise MADE_ONCE


# What steers


@retry_task(bind=True, max_retries=3)
def retries_twice_over(self: RetryTaskContext) -> None:
    try:
        try:
            raise ConnectionError("the real cause")
        except ConnectionError as exc:
            raise self.retry(exc=exc, countdown=30)
    except Exception as exc:
        raise self.retry(exc=exc, countdown=1)


@retry_task(bind=True, max_retries=3)
def discards_within_a_broad_except(self: RetryTaskContext) -> None:
    try:
        raise Discard("no such order")
    except Exception as exc:
        raise self.retry(exc=exc)


WRONG: dict[str, dict[str, Any]] = {
    "negative": {"countdown": -1},
    "naive": {"eta": datetime(2030, 1, 1)},
    "both": {"countdown": 1, "eta": datetime(2030, 1, 1, tzinfo=UTC)},
    "no exception": {"exc": "text"},
    "negative count": {"max_retries": -1},
}


@retry_task(bind=True, max_retries=3, countdown=7, jitter=False)
def retries_wrongly(self: RetryTaskContext, how: str) -> None:
    try:
        raise ConnectionError("the real cause")
    except ConnectionError:
        raise self.retry(**WRONG[how])


GROUPS: dict[str, Callable[[], BaseException]] = {
    "all retried": lambda: ExceptionGroup("g", [ConnectionError(), ConnectionError()]),
    "one not retried": lambda: ExceptionGroup("g", [ConnectionError(), KeyError()]),
    "one refused": lambda: ExceptionGroup("g", [ConnectionError(), ConnectionRefusedError()]),
    "nested": lambda: ExceptionGroup("g", [ExceptionGroup("h", [ConnectionError()])]),
    "discards": lambda: ExceptionGroup("g", [Discard("not needed"), Discard("nor this")]),
    "discard beside": lambda: ExceptionGroup("g", [Discard("not needed"), ConnectionError()]),
    "snooze and discard": lambda: ExceptionGroup("g", [Discard("not needed"), Snooze(60)]),
    "exit": lambda: BaseExceptionGroup("g", [SystemExit(1), ConnectionError()]),
}


@retry_task(max_retries=3, retry_on=ConnectionError, no_retry_on=ConnectionRefusedError)
def raises_group(kind: str) -> None:
    raise GROUPS[kind]()


@retry_task(bind=True, max_retries=3)
async def retries_in_a_group(self: RetryTaskContext) -> None:
    async def fail() -> None:
        self.retry(exc=ConnectionError("within"), countdown=30)

    async with asyncio.TaskGroup() as group:
        group.create_task(fail())


@retry_task(max_retries=3)
def raises_cancelled() -> None:
    raise asyncio.CancelledError("by itself")


@retry_task(max_retries=3)
async def raises_cancelled_asynchronously() -> None:
    raise asyncio.CancelledError("by itself")


# What is called, and with what


@retry_task(timeout=20)
def fetches(url: str, timeout: int = 10, func: str = "f") -> list[Any]:
    return [url, timeout, func]


@retry_task(timeout=20)
async def fetches_asynchronously(
    url: str, seconds: int = 10, value: int = 1, context: str = "", call: str = ""
) -> list[Any]:
    return [url, seconds, value, context, call]


@retry_task
def takes_any(**kwargs: Any) -> list[str]:
    return sorted(kwargs)


def called_plainly(function: Callable[..., Awaitable[Any]]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


@retry_task
@called_plainly
async def doubles(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


@retry_task(timeout=0.2, max_retries=0)
@called_plainly
async def waits(seconds: float) -> None:
    await asyncio.sleep(seconds)


# Connections


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@retry_task(max_retries=0)
def runs(*statements: str) -> str:
    run(*statements)
    return "done"


@retry_task(**ONCE_MORE)
def fails_in_a_raw_transaction() -> None:
    run("BEGIN", "SELECT * FROM nowhere")


@retry_task(max_retries=0)
def closes_the_driver() -> str:
    connection.ensure_connection()
    connection.connection.close()
    return "done"


def refuse(*args: Any) -> None:
    raise RuntimeError("no statement passes")


@retry_task(max_retries=0)
def leaves_a_wrapper() -> str:
    connection.execute_wrappers.append(refuse)
    return "done"


def refuse_inserts(execute: Callable[..., Any], sql: str, *args: Any) -> Any:
    if sql.startswith("INSERT"):
        raise RuntimeError("no row is inserted")
    return execute(sql, *args)


@retry_task(max_retries=0)
def leaves_a_wrapper_and_connects_again() -> str:
    connection.execute_wrappers.append(refuse_inserts)
    connection.close()
    run("SELECT 1")
    return "done"


@retry_task(max_retries=0)
def clears_the_wrappers() -> str:
    connection.execute_wrappers.clear()
    run("SET SESSION my.mark = 'left'" if connection.vendor == "postgresql" else "SELECT 1")
    return "done"


@retry_task(max_retries=0)
def behaves() -> str:
    with transaction.atomic(), transaction.atomic():
        run("SELECT 1", "  -- why\n /* and who */ SELECT 2", "select 3;")
    return "done"


@retry_task(max_retries=0)
def probes(number: int) -> int:
    run("SELECT COUNT(*) FROM retrytasks_task")
    return number


# Surroundings

VAR: ContextVar[str] = ContextVar("VAR", default="clean")


@retry_task(max_retries=0)
def leaks() -> None:
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    VAR.set("dirty")
    decimal.getcontext().prec = 3


@retry_task(max_retries=0)
def sees() -> list[Any]:
    zone = str(timezone.get_current_timezone())
    return [translation.get_language(), zone, VAR.get(), decimal.getcontext().prec]


@retry_task(max_retries=1, countdown=1000, max_countdown=1000)
def seeds() -> None:
    random.seed(42)
    raise ValueError("seeded")


_hung: list[bool] = []


def hangs_at_first(**details: Any) -> None:
    """Receive a signal; the first one for a minute."""
    if not _hung:
        _hung.append(True)
        time.sleep(60)
