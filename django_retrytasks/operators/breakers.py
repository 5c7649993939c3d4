"""Open and close breakers by an operator's hand."""

from __future__ import annotations

from django_retrytasks.exceptions import RetryTasksError
from django_retrytasks.lifecycle import breakers
from django_retrytasks.policy import Breaker
from django_retrytasks.tasks import discovery
from django_retrytasks.tasks.arguments import as_breaker_key
from django_retrytasks.tasks.stored import resolve
from django_retrytasks.values.checked import nearest


def names() -> list[str]:
    """Return the functions that have a breaker."""
    discovery.discover()
    return sorted(task.module_path for task in discovery.defined_tasks() if task.breaker)


def open_breaker(name: str, key: str = "", *, by: str, reason: str = "") -> bool:
    """Open the breaker of a function, or of one key of it; return whether it was not open.

    Args:
        name: the function's dotted path.
        key: a value of the parameter that ``by`` names; "" if it names none.
        by: who opens it.
        reason: why, in words.

    Raises:
        ValueError: there is no such function, it has no breaker, or a key is missing or too much.
    """
    breaker = refuse_misfit(name, key)
    return breakers.open_breaker(
        name, as_breaker_key(key), probe_every=breaker.probe_every, by=by, reason=reason
    )


def refuse_misfit(name: str, key: str) -> Breaker:
    """Return the breaker of a function; raise ValueError as :func:`open_breaker`."""
    try:
        breaker = resolve(name).breaker
    except RetryTasksError as error:
        raise ValueError(f"{error} {nearest(name, names())}") from None
    if breaker is None:
        raise ValueError(f"{name} has no breaker: pause it instead. {nearest(name, names())}")
    if breaker.by and not key:
        raise ValueError(f'{name} has a breaker for each value of "{breaker.by}": give a key')
    if key and not breaker.by:
        raise ValueError(f"{name} has one breaker for all its Tasks: give no key")
    return breaker


def close_breaker(name: str, key: str = "", *, by: str, reason: str = "") -> bool:
    """Close an open breaker; return whether it was open. The Tasks behind it come back."""
    return breakers.close_breaker(name, as_breaker_key(key), by=by, reason=reason)
