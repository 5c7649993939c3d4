"""Unique tasks, one for each way to be unique."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from django_retrytasks import Discard, retry_task

UNSTORABLE = object()


@retry_task(unique=True, max_retries=1, countdown=5, jitter=False)
def imports_feed(url: str = "", page: int = 1, *, told: str = "", **filters: Any) -> str:
    """Do as told: succeed, fail, or be discarded."""
    if told == "fail":
        raise ConnectionError("no luck")
    if told == "discard":
        raise Discard("not needed")
    return f"{url} {page}"


@retry_task(unique="order", search_key="order", max_retries=0)
def ships_once(order: Any, carrier: str = "post", *, fails: bool = False) -> None:
    if fails:
        raise LookupError("no stock")


@retry_task(unique=lambda call: f"customer {call['customer']}", max_retries=0)
def greets(customer: str, text: str = "hello") -> str:
    return text


@retry_task(unique="order", unique_for=60, max_retries=0)
def reminds(order: Any, *, fails: bool = False) -> None:
    if fails:
        raise LookupError("no address")


@retry_task(unique=True)
def has_a_default_that_cannot_be_stored(value: Any = UNSTORABLE) -> None: ...


def what_the_call_says(call: Mapping[str, Any]) -> Any:
    if call["key"] == "raise":
        raise KeyError("secret")
    return call["key"]


@retry_task(unique=what_the_call_says)
def says_its_key(key: Any) -> None: ...


def pk_of(result: Any) -> uuid.UUID:
    return uuid.UUID(result.id)
