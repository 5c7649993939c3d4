"""Refuse unknown names of queues and functions, with the nearest known one."""

from __future__ import annotations

from django.core.management import CommandError

from django_retrytasks.operators import known_names
from django_retrytasks.tasks import discovery
from django_retrytasks.values.checked import nearest


def refuse_unknown(queue: str | None, task: str | None, advice: str = "") -> None:
    """Refuse an unknown queue or function; None or "" is not given.

    Args:
        queue: a queue's name.
        task: a function's dotted path.
        advice: a sentence after the nearest name, with "{kind}" in it.

    Raises:
        CommandError: it is unknown; the message gives the nearest name.
    """
    if queue and not known_names.has_queue(queue):
        _refuse("queue", queue, known_names.known_queues(), advice)
    if task and not known_names.has_function(task):
        _refuse("function", task, discovery.own_names(), advice)


def _refuse(kind: str, name: str, known: list[str], advice: str) -> None:
    near = nearest(name, known)
    raise CommandError(f"there is no {kind} {name}. {near} {advice.format(kind=kind)}".rstrip())
