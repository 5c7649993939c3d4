"""Assertions about stored Tasks; a message of theirs says what happened instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from django_retrytasks import conf
from django_retrytasks.alerts import Alert
from django_retrytasks.alerts.notices import Notice, NoticeKind
from django_retrytasks.alerts.sending import send_alert
from django_retrytasks.exceptions import Discard
from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.tasks import RetryTask, arguments, as_retry_task
from django_retrytasks.tasks.redaction import shown_arguments
from django_retrytasks.values import codec
from django_retrytasks.values.checked import nearest
from django_retrytasks.values.contract import Task as ContractTask
from django_retrytasks.values.contract import TaskResult
from django_retrytasks.values.texts import countdown_in

from .backends import KeptAlert
from .stored import Stored, refuse_unstored, row_of
from .timelines import headline, timeline

__unittest = True  # unittest leaves the frames of this module out of a failure

# A message names so many Tasks.
NAMED = 10


def assert_enqueued(
    task: ContractTask[..., Any],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    count: int | None = None,
) -> list[Task]:
    """Assert that Tasks of a function were enqueued, finished or not; return their rows in order.

    Args:
        task: the decorated function.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call. Without both, any call counts.
        count: exactly so many Tasks; None: at least one.

    Raises:
        AssertionError: another number; or the function's backend stores no rows.
        TypeError: no decorated function; or the arguments are none for this function, or cannot be
            stored.
    """
    __tracebackhide__ = True
    if not isinstance(task, ContractTask):
        raise TypeError(f"assert_enqueued() takes a decorated function, not {task!r}")
    refuse_unstored(task)
    definition = as_retry_task(task)
    stored = list(Task.objects.filter(name=task.module_path).order_by("pk"))
    rows, words = stored, ""
    if args is not None or kwargs is not None:
        call = _as_called(definition, args or (), kwargs or {})
        rows = [row for row in stored if _call_of(definition, row) == call]
        words = f" with {call}"
    if not _is_right(len(rows), count):
        raise AssertionError(
            f"{_expected(count)} of {task.module_path}{words} enqueued, found {len(rows)}\n"
            + "\n".join(_shown(definition, stored))
        )
    return rows


def assert_attempts(
    of: Stored,
    outcomes: Sequence[str],
    *,
    countdowns: Sequence[object] | None = None,
) -> list[Attempt]:
    """Assert how the attempts of a Task ended, all of them in order; return them.

    Args:
        of: the Task's row or result.
        outcomes: such as ``["FAILED", "SUCCEEDED"]``; see `Attempt.Outcome`.
        countdowns: the seconds from each attempt to the next one, as decided; None: any.

    Raises:
        AssertionError: other attempts; or no such row.
        ValueError: an unknown outcome.
    """
    __tracebackhide__ = True
    for outcome in outcomes:
        if outcome not in Attempt.Outcome.values:
            raise ValueError(f"no outcome {outcome!r}. {nearest(outcome, Attempt.Outcome.values)}")
    task = row_of(of)
    attempts = list(task.attempts.all())
    ended = [attempt.outcome for attempt in attempts]
    if ended != list(outcomes):
        raise AssertionError(
            f"the attempts ended {ended}, expected {list(outcomes)}\n{timeline(task)}"
        )
    decided = [wait for a in attempts if (wait := countdown_in(a.decision)) is not None]
    if countdowns is not None and decided != list(countdowns):
        raise AssertionError(
            f"the countdowns were {decided}, expected {list(countdowns)}\n{timeline(task)}"
        )
    return attempts


def assert_alerted(
    about: Stored | ContractTask[..., Any] | None = None,
    *,
    kind: str | None = None,
    sink: str | None = None,
    count: int | None = None,
) -> list[Alert]:
    """Assert that people were alerted, whether the alerts were sent or kept; return the alerts.

    Args:
        about: the failed Task's row or result, whose failure group alerted; or a decorated
            function; None: any.
        kind: such as ``"FAILING"`` or ``"RECOVERED"``; see :class:`Alert`. None: any.
        sink: a sink's name in ``ALERTS``: its dotted path, unless it has a name of its own. None:
            any, except the log, which gets each alert.
        count: exactly so many alerts; None: at least one. One goes to each sink.

    Raises:
        AssertionError: another number.
        TypeError: ``about`` is none of these.
        ValueError: an unknown kind.
    """
    __tracebackhide__ = True
    _refuse_wrong_about(about)
    if kind is not None and kind not in list(NoticeKind):
        raise ValueError(f"no kind {kind!r} of alerts. {nearest(kind, list(NoticeKind))}")
    sent, unsent = _alerts()
    found = [
        alert
        for name, alert in sent
        if _is_to(name, sink) and kind in (None, alert.kind) and _is_about(alert, about)
    ]
    if not _is_right(len(found), count):
        lines = [f"{_expected(count, 'alerts')}, found {len(found)} among these {len(sent)}:"]
        lines += [f"  {alert.kind} to {name}: {alert.subject}" for name, alert in sent[:NAMED]]
        lines += [f"  {unsent} more not run yet: call drain()"] * bool(unsent)
        lines += [timeline(about)] if isinstance(about, Task | TaskResult) else []
        raise AssertionError("\n".join(lines))
    return found


def _as_called(
    definition: RetryTask[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by parameter, defaults included, as they are stored."""
    encoded = arguments.encode(definition.signature, args, kwargs, owner=definition.name)
    args, kwargs = map(codec.loads, encoded)
    bound = arguments.bind(definition.signature, args, kwargs, owner=definition.name)
    bound.apply_defaults()
    return bound.arguments


def _call_of(definition: RetryTask[..., Any], row: Task) -> dict[str, Any] | None:
    """Return the arguments of a stored call; None if they fit the function no more."""
    try:
        return _as_called(definition, row.args, row.kwargs)
    except (TypeError, ValueError):
        return None


def _is_right(found: int, count: int | None) -> bool:
    return found > 0 if count is None else found == count


def _expected(count: int | None, what: str = "Tasks") -> str:
    return f"expected {'at least 1' if count is None else count} {what}"


def _shown(definition: RetryTask[..., Any], stored: Sequence[Task]) -> Iterator[str]:
    """Yield a line for each Task of a function; without any, one for each other Task."""
    for row in stored[:NAMED]:
        yield f"  {headline(row)}: {shown_arguments(row, definition)}"
    if not stored:
        others = Task.objects.filter(internal=False).order_by("pk")
        yield from (f"  {headline(row)}" for row in others[:NAMED])


def _alerts() -> tuple[list[KeptAlert], int]:
    """Return the alerts whose Tasks have run, in order, and the number of the others."""
    rows = Task.objects.filter(internal=True, name=send_alert.module_path).order_by("pk")
    alerts = []
    for row in (ran := rows.filter(status=Status.SUCCEEDED)):
        sink, notice = row.args
        with suppress(Discard):  # its group has been deleted
            alerts.append(KeptAlert(sink, Alert.from_notice(Notice(**notice), id=str(row.pk))))
    return alerts, rows.count() - len(ran)


def _is_to(name: str, sink: str | None) -> bool:
    return name != conf.LOG if sink is None else name == sink


def _refuse_wrong_about(about: Any) -> None:
    if not isinstance(about, Task | TaskResult | ContractTask | None):
        raise TypeError(
            "about must be a Task's row, the result of its enqueue or a decorated function, "
            f"not {about!r}"
        )


def _is_about(alert: Alert, about: Stored | ContractTask[..., Any] | None) -> bool:
    if about is None:
        return True
    if isinstance(about, ContractTask):
        return alert.group.name == about.module_path
    return alert.group.pk == row_of(about).failure_group_id
