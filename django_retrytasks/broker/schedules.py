"""Find a Schedule that django-q2 cannot run, by the steps of its scheduler.

The scheduler runs all due Schedules in one transaction (django-q2 1.11, scheduler.py). So a broken
one keeps the others from running while it is due.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from typing import Any

ONCE = "O"


def fault_of(schedule: Any, enqueue: Callable[..., Any]) -> str:
    """Return why a Schedule cannot run, in words; "" if it can.

    Args:
        schedule: django-q2's row.
        enqueue: the function that the scheduler enqueues with; only its signature is read.
    """
    try:
        _prepare(schedule, enqueue)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _prepare(schedule: Any, enqueue: Callable[..., Any]) -> None:
    kwargs = _keywords(schedule.kwargs) if schedule.kwargs else {}
    args = ast.literal_eval(schedule.args) if schedule.args else ()
    options = kwargs.get("q_options", {})
    if schedule.intended_date_kwarg:
        kwargs[schedule.intended_date_kwarg] = ""
    if schedule.schedule_type != ONCE:
        schedule.calculate_next_run(schedule.next_run)
    # Fails, as in the scheduler, if it is not a mapping.
    options["cluster"] = options.pop("broker_name", None)
    positional = args if type(args) is tuple else (args,)
    inspect.signature(enqueue).bind(schedule.func, *positional, **kwargs)


def _keywords(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        try:
            call: Any = ast.parse(f"f({text})").body[0]
            keywords = call.value.keywords
            return {keyword.arg: ast.literal_eval(keyword.value) for keyword in keywords}
        except (SyntaxError, ValueError):
            return {}
