"""A site's code that fails, and the fingerprints of its failures."""

import asyncio
import json
import smtplib
import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from http.client import HTTPConnection
from itertools import combinations
from types import TracebackType
from typing import cast

from hypothesis import HealthCheck, settings

from django_retrytasks import RetryPolicy
from django_retrytasks.errors.fingerprints import fingerprint, origin_of
from django_retrytasks.errors.reports import class_path, report

HERE = __name__
NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)

# A busy machine is no failure.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def raised(function: Callable[..., object], *args: object) -> BaseException:
    """Return what a function raises, its traceback beginning in the function itself."""
    try:
        function(*args)
    except BaseException as exception:
        return exception.with_traceback(cast(TracebackType, exception.__traceback__).tb_next)
    raise AssertionError(f"{function} did not raise")


def group_of(exception: BaseException, name: str = "shop.tasks.send") -> uuid.UUID:
    """Return the fingerprint of a failure, found as a worker finds it."""
    message = report(exception).message
    return fingerprint(name, class_path(type(exception)), origin_of(exception), message)


def are_one(failures: Iterable[BaseException]) -> bool:
    return len({group_of(each) for each in failures}) == 1


def are_apart(failures: Iterable[BaseException]) -> bool:
    return all(group_of(one) != group_of(other) for one, other in combinations(failures, 2))


def deliver(recipient: str) -> None:
    raise smtplib.SMTPRecipientsRefused({recipient: (550, b"5.1.1 no such user")})


def fetch(order_id: int) -> None:
    HTTPConnection("shop.example.com").request("GET", f"/orders/{order_id} unquoted")


def read(text: str) -> None:
    json.loads(text)


def configure(count: int) -> None:
    RetryPolicy(max_retries=count)


def pay(amount: int) -> None:
    if amount == 0:
        raise ValueError("nothing to pay")
    raise ValueError(f"{amount} is too much")


def refund(amount: int) -> None:
    raise ValueError("nothing to pay")


def pay_via(amount: int) -> None:
    pay(amount)


def translate_errors(number: int) -> None:
    try:
        int(f"x{number}")
    except ValueError as error:
        raise RuntimeError(f"no order {number}") from error


def pass_on(number: int) -> None:
    try:
        pay(number)
    except ValueError:
        raise


def descend(depth: int) -> None:
    descend(depth + 1)


def start_deeper(levels: int) -> None:
    start_deeper(levels - 1) if levels else descend(0)


async def gather(*amounts: int) -> None:
    async with asyncio.TaskGroup() as group:
        for amount in amounts:
            group.create_task(pay_later(amount))


async def pay_later(amount: int) -> None:
    pay(amount)


async def gather_reads(text: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(json.loads, text))


def execute(source: str) -> None:
    exec(source)


def stay_here() -> None:
    while True:
        pass


def stay_there() -> None:
    while True:
        pass
