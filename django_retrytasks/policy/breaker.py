"""A breaker: when to stop trying a service that is down, and how often to probe it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from django_retrytasks.errors.causes import is_a, leaves
from django_retrytasks.values import checked

from .options import ExceptionClasses, as_exception_classes
from .retry_after import retry_after_seconds


def as_failure_classes(name: str, value: object) -> tuple[type[BaseException], ...]:
    """Return one or several exception classes as a tuple, at least one."""
    classes = as_exception_classes(name, value)
    if not classes:
        raise ValueError(f"{name} must hold the exception classes of a service that is down")
    return classes


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Breaker:
    """The rule that stops the attempts of a task while the service it calls is down.

    Attributes:
        on: one or several exception classes that mean that the service is down; in an exception
            group one leaf is enough.
        failures: how many such failures in a row, in one worker process, open the breaker; from 1.
            A success ends the row. Other failures neither count nor end it.
        probe_every: seconds, or a timedelta, between two probes, above 0, at most 366 days; kept as
            float seconds.
        by: name of the parameter each of whose values has a breaker of its own, such as "host"; "":
            one breaker for all Tasks of the function.

    Raises:
        TypeError: an argument of a wrong type.
        ValueError: an argument out of its range.
    """

    on: tuple[type[BaseException], ...] = checked.option(as_failure_classes)
    failures: int = checked.option(partial(checked.as_count, least=1), 10)
    probe_every: float = checked.option(checked.as_positive_seconds, 30.0)
    by: str = checked.option(checked.as_text, "")

    def __init__(
        self,
        *,
        on: ExceptionClasses,
        failures: int = 10,
        probe_every: checked.Duration = 30,
        by: str = "",
    ) -> None:
        given = {"on": on, "failures": failures, "probe_every": probe_every, "by": by}
        checked.fill(self, checked.options(self, given, owner="Breaker: "))

    def counts(self, exception: BaseException) -> bool:
        """Whether an exception means that the service is down."""
        return any(is_a(each, self.on) for each in (exception, *leaves(exception)))

    def wait(self, exception: BaseException, now: datetime) -> float | None:
        """Return the seconds for which a failed call asks to leave the service alone; None: none.

        Args:
            exception: the failure, whose ``Retry-After`` is read.
            now: the aware time that an HTTP date is compared with.
        """
        return retry_after_seconds(exception, now) or None


def as_breaker(name: str, value: object) -> Breaker:
    """Return a Breaker; raise TypeError for anything else."""
    if isinstance(value, Breaker):
        return value
    raise TypeError(f"{name} must be a Breaker such as Breaker(on=ConnectionError), not {value!r}")
