"""Tell whether an exception steers its Task: a Retry, Snooze or Discard, alone or in a group."""

from __future__ import annotations

from typing import Final

from django_retrytasks.errors.causes import is_a, leaves
from django_retrytasks.exceptions import Discard, Retry, Snooze

__all__ = ["STEERING", "Steering", "steering_of"]

Steering = Retry | Snooze | Discard

# Where a group holds several kinds, the one that gives up least counts.
STEERING: Final[tuple[type[Steering], ...]] = (Retry, Snooze, Discard)


def steering_of(error: BaseException) -> Steering | None:
    """Return the exception that says what follows; None where the policy says it.

    A group steers only if each of its leaves does. A Retry gives way to the Retry, Snooze or
    Discard that it was made from, as a broad ``except Exception`` makes it.
    """
    found = [_first_raised(leaf) for leaf in leaves(error)]
    steering = [one for one in found if is_a(one, STEERING)]
    if len(steering) < len(found):
        return None
    return next(one for kind in STEERING for one in steering if is_a(one, kind))


def _first_raised(error: BaseException) -> BaseException:
    seen: set[int] = set()
    while is_a(error, Retry) and id(error) not in seen:
        seen.add(id(error))
        if is_a(error.cause, STEERING):
            error = error.cause
    return error
