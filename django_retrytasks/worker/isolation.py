"""Keep changes that foreign code makes to its context from the code that runs next.

A ``contextvars`` context holds language, time zone, context variables and decimal precision. Each
attempt, and the signals of each attempt, run in a copy of the worker's first context. State of the
process, such as ``os.environ`` or the working directory, stays changed.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from contextvars import Context, copy_context
from functools import cache
from typing import Any, TypeVar

from django.core.cache import caches

T = TypeVar("T")


@cache
def beginning() -> Context:
    """Return the context in which this process first called this function."""
    # The context also holds Django's caches: create them now, so that their connections are kept.
    for alias in caches:
        with suppress(Exception):
            caches[alias]
    return copy_context()


def run_in_copy(context: Context, call: Callable[..., T], /, *args: Any) -> T:
    """Call a function in a copy of a context, so that the context stays unchanged."""
    return context.copy().run(_with_own_decimals, call, *args)


def _with_own_decimals(call: Callable[..., T], /, *args: Any) -> T:
    with own_decimals():
        return call(*args)


def own_decimals() -> AbstractContextManager[Any]:
    """Give the body a decimal context of its own, in its copy of a context."""
    # Code changes the decimal context in place, so a copy of the variable is not enough.
    return decimal.localcontext()
