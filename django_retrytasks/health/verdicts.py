"""Judge the health: is it good, and what is wrong with it, in words without a name or a value."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import Error

from django_retrytasks.database.schema import lacks_schema, unmigrated
from django_retrytasks.values.texts import number_text

from .reading import Health, check

MAX_LAG = 120.0
"""Seconds for which a Task may have been due, unless a site says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The health at one moment, and what is wrong with it."""

    problem: str
    """What is wrong, in a sentence; "" if nothing is."""
    note: str = ""
    """What is worth knowing though nothing is wrong, in a sentence; "" if nothing is."""
    health: Health | None
    """The health; None: the database does not tell it."""


def judge(max_lag: float) -> Verdict:
    """Read and judge the health; raise no error of the database.

    Args:
        max_lag: seconds for which a Task may have been due.
    """
    try:
        health = check()
    except Error as error:
        problem = unmigrated() if lacks_schema(error) else "The database does not answer."
        return Verdict(problem=problem, health=None)
    late = lateness(health, max_lag)
    problem = f"{late[0].upper()}{late[1:]}." if late else ""
    return Verdict(problem=problem, note=_note(health), health=health)


def _note(health: Health) -> str:
    """Return how many breakers are open. No problem: another service is down, the work goes on."""
    count = sum(breaker.is_open for breaker in health.breakers)
    if count == 1:
        return "1 breaker is open: the Tasks behind it wait."
    return f"{count} breakers are open: the Tasks behind them wait." if count else ""


def lateness(health: Health, max_lag: float) -> str:
    """Return that a Task has been due for more than ``max_lag`` seconds; "" if none has."""
    if health.lag <= max_lag:
        return ""
    return (
        f"a Task has been due for {number_text(health.lag)} s, more than {number_text(max_lag)} s"
    )
