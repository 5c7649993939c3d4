"""Keep what foreign code changes about its surroundings from what runs after it.

Language, time zone, context variables and decimal precision live in a ``contextvars`` context: each
attempt, and each telling of one, runs in a copy of the context that the worker began with. What is
the process's own, such as ``os.environ`` or the working directory, stays changed.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from functools import cache
from typing import Any, TypeVar

from django.core.cache import caches

T = TypeVar("T")


@cache
def beginning() -> Context:
    """Return the context that this process began with: the one of the first call."""
    # The context holds Django's caches as well, and their connections are to be kept.
    for alias in caches:
        with suppress(Exception):
            caches[alias]
    return copy_context()


def run_in_copy(context: Context, call: Callable[..., T], /, *args: Any) -> T:
    """Call something in a copy of a context, so that the context stays as it is."""
    return context.copy().run(_with_own_decimals, call, *args)


def _with_own_decimals(call: Callable[..., T], /, *args: Any) -> T:
    # The decimal context is changed in place, so a copy of the variable is not enough.
    with decimal.localcontext():
        return call(*args)
