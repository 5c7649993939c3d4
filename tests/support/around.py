"""A site's context managers for ``RETRYTASKS["AROUND"]``, and tasks that tell of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group
from django.db import connection
from django.utils import translation

from django_retrytasks import Discard, RetryTaskContext, Snooze, retry_task
from tests.support.cancels import LONG, begun

HERE = "tests.support.around"
# What happened, in order.
happened: list[Any] = []
tenant: ContextVar[str] = ContextVar("tenant", default="none")


@contextmanager
def outer(context: RetryTaskContext) -> Iterator[None]:
    happened.append("outer in")
    try:
        yield
    finally:
        happened.append("outer out")


@contextmanager
def inner(context: RetryTaskContext) -> Iterator[None]:
    happened.append("inner in")
    try:
        yield
    finally:
        happened.append("inner out")


@asynccontextmanager
async def awaited(context: RetryTaskContext) -> AsyncIterator[None]:
    await asyncio.sleep(0)
    happened.append("awaited in")
    try:
        yield
    finally:
        await asyncio.sleep(0)
        happened.append("awaited out")


@contextmanager
def as_tenant(context: RetryTaskContext) -> Iterator[None]:
    """Set a context variable, and take it back by its token; use the database."""
    happened.append((context.row.name.rpartition(".")[2], context.attempt, Group.objects.count()))
    token = tenant.set(str(context.row.args[0]))
    try:
        yield
    finally:
        tenant.reset(token)


def in_german(context: RetryTaskContext) -> AbstractContextManager[Any]:
    return translation.override("de")


@contextmanager
def refuses(context: RetryTaskContext) -> Iterator[None]:
    raise PermissionError("no such tenant")
    yield


@contextmanager
def snoozes(context: RetryTaskContext) -> Iterator[None]:
    raise Snooze(60)
    yield


@contextmanager
def fails_at_last(context: RetryTaskContext) -> Iterator[None]:
    yield
    raise PermissionError("cannot leave")


@contextmanager
def replaces(context: RetryTaskContext) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise RuntimeError("told in other words") from error


class Swallows:
    """Returns True for every exception."""

    def __init__(self, context: RetryTaskContext) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *details: Any) -> bool:
        return True


class SwallowsAwaited(Swallows):
    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *details: Any) -> bool:
        return True


@contextmanager
def hangs(context: RetryTaskContext) -> Iterator[None]:
    time.sleep(10)
    yield


@asynccontextmanager
async def hangs_awaited(context: RetryTaskContext) -> AsyncIterator[None]:
    await asyncio.sleep(10)
    yield


class EntersSlowly:
    """Enter in 2 seconds; no generator, which Python would leave when it frees it."""

    def __init__(self, context: RetryTaskContext) -> None:
        pass

    def __enter__(self) -> None:
        time.sleep(2)
        happened.append("slow in")

    def __exit__(self, *details: Any) -> None:
        happened.append("slow out")


class Plain(EntersSlowly):
    def __enter__(self) -> None:
        happened.append("slow in")


@contextmanager
def leaves_slowly(context: RetryTaskContext) -> Iterator[None]:
    yield
    begun.set()
    time.sleep(LONG)


@contextmanager
def breaks_the_transaction(context: RetryTaskContext) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM no_such_table")
    yield


def no_manager(context: RetryTaskContext) -> str:
    return "s3cr3t"


@retry_task(max_retries=0)
def runs(value: Any = None) -> list[Any]:
    happened.append("function")
    return [tenant.get(), translation.get_language()]


@retry_task(max_retries=0)
async def runs_async(value: Any = None) -> list[Any]:
    happened.append("function")
    await asyncio.sleep(0)
    return [tenant.get(), translation.get_language()]


@retry_task(max_retries=0, concurrency=10)
async def runs_together(value: Any = None) -> list[Any]:
    await asyncio.sleep(0.01)
    return [tenant.get(), translation.get_language()]


@retry_task(max_retries=0, concurrency=10)
async def waits_in_a_thread(seconds: float) -> None:
    await sync_to_async(time.sleep)(seconds)


@retry_task(max_retries=0)
def raises(kind: str) -> None:
    raise {"error": ValueError("not today"), "discard": Discard("moot"), "snooze": Snooze(60)}[kind]


@retry_task(max_retries=0)
async def raises_async(kind: str) -> None:
    raises.func(kind)


@retry_task(max_retries=0, concurrency=10)
async def raises_together(kind: str) -> None:
    raises.func(kind)


@retry_task(max_retries=0)
def returns_an_awaitable() -> Awaitable[list[Any]]:
    return runs_async.func()


@retry_task(bind=True, max_retries=0)
def tells_its_context(self: RetryTaskContext) -> bool:
    return seen[-1] is self


seen: list[RetryTaskContext] = []


@contextmanager
def sees(context: RetryTaskContext) -> Iterator[None]:
    seen.append(context)
    yield
