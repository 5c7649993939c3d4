"""Find the Retry, Snooze or Discard by which an exception steers its Task."""

from __future__ import annotations

from typing import Final

from django_retrytasks.errors.causes import is_a, leaves
from django_retrytasks.exceptions import Discard, Retry, Snooze

Steering = Retry | Snooze | Discard

# In a group of several kinds the first one here counts: it gives up least.
STEERING: Final[tuple[type[Steering], ...]] = (Retry, Snooze, Discard)


def steering_of(error: BaseException) -> Steering | None:
    """Return the exception that steers; None: the policy decides.

    A group steers only if each leaf does. A Retry whose cause is a Retry, Snooze or Discard, as
    after a broad ``except Exception``, gives way to its cause.
    """
    raised = [_first_raised(leaf) for leaf in leaves(error)]
    steering = [each for each in raised if is_a(each, STEERING)]
    if len(steering) < len(raised):
        return None
    return next(each for kind in STEERING for each in steering if is_a(each, kind))


def _first_raised(error: BaseException) -> BaseException:
    seen: set[int] = set()
    while is_a(error, Retry) and id(error) not in seen:
        seen.add(id(error))
        if is_a(error.cause, STEERING):
            error = error.cause
    return error
