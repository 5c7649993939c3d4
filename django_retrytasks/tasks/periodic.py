"""Declare periodic Tasks beside their functions."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from django_retrytasks.lifecycle import periodic as rows
from django_retrytasks.lifecycle.periodic import Declaration
from django_retrytasks.models.periodic import PERIODIC_NAME_LENGTH
from django_retrytasks.values import checked
from django_retrytasks.values.calendars import Calendar, as_cron, as_every
from django_retrytasks.values.contract import Task

from . import arguments, discovery, functions
from .definition import as_retry_task
from .options import split_apply

# The declarations of this process by name, each with its function.
_declared: dict[str, list[tuple[Declaration, Any]]] = defaultdict(list)


def periodic(
    task: Task[..., Any],
    *,
    cron: str | None = None,
    every: checked.Duration | None = None,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """Enqueue a task by the calendar, as long as its module declares it.

    Call it at the top level of an app's module ``tasks``. Give ``cron`` or ``every``. A moment at
    which no cluster runs is made up for once, however many have passed.

    Args:
        task: a task of ``@retry_task``, or of django.tasks' ``@task``.
        cron: a cron line of five fields in the site's time zone, such as "0 3 * * 1-5". It needs
            croniter: ``pip install 'django-retrytasks[periodic]'``.
        every: seconds (or a timedelta) from one moment to the next, in whole seconds, 10 to
            31622400, counted from 1970 in UTC: every 600 seconds is at :00, :10, :20 and so on.
        args: positional arguments of each Task.
        kwargs: keyword arguments of each Task.
        name: its name, of at most 100 characters; None: the dotted path of the function.

    Raises:
        TypeError: no task, a task of ``using()``, both or none of ``cron`` and ``every``, or
            arguments that do not fit the function or cannot be stored.
        ValueError: a wrong cron line, length of time or name.
    """
    _refuse_other(task)
    name = _as_name(task.module_path if name is None else name)
    calendar = _calendar(cron, every, f"periodic {name!r}")
    declaration = _declaration(name, task, calendar, args, kwargs)
    others = [each for each in _declared[name] if not _is_reloaded(each, declaration, task.func)]
    _declared[name] = [*others, (declaration, task.func)]


def declarations() -> list[Declaration]:
    """Return what the modules imported so far declare, by name, without clashing names."""
    found = sorted(_declared.items())
    return [declared[0][0] for _, declared in found if len(declared) == 1]


def declarations_of(task_name: str) -> list[Declaration]:
    """Return the declarations of a function, given by its dotted path."""
    return [each for each in declarations() if each.task_name == task_name]


def clashes() -> Mapping[str, list[str]]:
    """Return the paths of the functions that share a name, by name."""
    shared = {name: found for name, found in sorted(_declared.items()) if len(found) > 1}
    return {name: [each.task_name for each, _ in found] for name, found in shared.items()}


def sync(*, is_deploy: bool = False) -> None:
    """Store what the tasks modules of the installed apps declare.

    Args:
        is_deploy: whether this code is the latest. Then rows that it does not declare are retired,
            unless a module does not import, or two declarations share a name.
    """
    problems = discovery.discover()
    knows_all = not problems and not clashes()
    rows.declare(declarations(), is_deploy=is_deploy, retires_others=is_deploy and knows_all)


def _as_name(name: Any) -> str:
    text = checked.as_text("periodic(): name", name, least=1, most=PERIODIC_NAME_LENGTH)
    if not text.isprintable() or text != text.strip():
        raise ValueError(
            f"periodic(): name must be printable, without spaces around it, not {name!r}"
        )
    return text


def _calendar(cron: Any, every: Any, owner: str) -> Calendar:
    if (cron is None) == (every is None):
        raise TypeError(f"{owner}: give either cron or every")
    if every is None:
        return Calendar(cron=as_cron(f"{owner}: cron", cron))
    return Calendar(every=as_every(f"{owner}: every", every))


def _declaration(
    name: str, task: Task[..., Any], calendar: Calendar, args: Any, kwargs: Any
) -> Declaration:
    positional, keywords = split_apply(args, kwargs, owner=f"periodic {name!r}")
    stored = arguments.stored(as_retry_task(task), positional, keywords)
    return Declaration(
        name=name,
        task_name=task.module_path,
        calendar=calendar,
        args=stored["args"],
        kwargs=stored["kwargs"],
    )


def _refuse_other(task: Any) -> None:
    """Refuse what is no task, and a task whose dotted path leads to another one.

    A moment would enqueue that one.
    """
    if not isinstance(task, Task):
        raise TypeError(f"periodic() takes a task: decorate {task!r:.80} with @retry_task")
    stands = getattr(sys.modules.get(task.func.__module__), task.func.__qualname__, task)
    if stands is not task:
        raise TypeError(
            f"periodic() takes a task itself, but {functions.path_of(task.func)} is another: set "
            "options on the decorator, not by using()"
        )


def _is_reloaded(earlier: tuple[Declaration, Any], declaration: Declaration, func: Any) -> bool:
    """Whether a declaration stems from a module that has been imported anew since."""
    return earlier[0].task_name == declaration.task_name and earlier[1] is not func
