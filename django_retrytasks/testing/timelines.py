"""A Task and its attempts as text, for the message of a failed assertion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import indent

from django_retrytasks.models import Attempt, OpenBreaker, Status, Task, fingerprint_of
from django_retrytasks.values import moments
from django_retrytasks.values.texts import error_text, number_text

from .advancing import seconds_to
from .stored import Stored, row_of

# Lines of the last traceback.
TRACEBACK_LINES = 20


def timeline(of: Stored) -> str:
    """Return a Task, its attempts, and the end of its last traceback, as lines of text.

    Args:
        of: the Task's row or result.
    """
    task = row_of(of)
    attempts = list(task.attempts.all())
    return "\n".join([headline(task), *_lines(attempts), *_traceback(attempts)])


def headline(task: Task) -> str:
    """Return a Task as one line: its function, id and status, and what comes next."""
    facts = [task.status, task.stop_reason, _retries(task), _next(task)]
    return f"{task.name} {task.pk}: {', '.join(fact for fact in facts if fact)}"


def _retries(task: Task) -> str:
    most = "" if task.max_retries is None else f" of {task.max_retries}"
    return f"retry {task.retry_count}{most}" if task.retry_count else ""


def _next(task: Task) -> str:
    if task.run_after is None:
        return ""
    if task.is_behind_breaker:
        return _behind(task)
    if task.is_parked:
        return "its queue or function is paused"
    seconds = seconds_to(task.run_after)
    if task.status == Status.RUNNING:
        return f"its lease ends in {number_text(seconds)} s"
    return f"due in {number_text(seconds)} s" if seconds else "due now"


def _behind(task: Task) -> str:
    fingerprint = fingerprint_of((task.name, task.breaker_key))
    row = OpenBreaker.objects.filter(fingerprint=fingerprint).first()
    if row is None:
        return "behind a breaker whose row is gone"
    seconds = number_text(seconds_to(row.next_probe_at))
    return f"behind the breaker of {row}, next probe in {seconds} s"


def _lines(attempts: Sequence[Attempt]) -> Iterator[str]:
    if not attempts:
        yield "  no attempt yet"
    for attempt in attempts:
        seconds = moments.between(attempts[0].started_at, attempt.started_at).total_seconds()
        error = error_text(attempt.exception_class_path, attempt.exception_message)
        first = error.partition("\n")[0]
        words = f"{first}; {attempt.decision}" if first else attempt.decision
        yield f"  {attempt.number:>2}  at {seconds:.1f} s  {attempt.outcome:<9}  {words}"


def _traceback(attempts: Sequence[Attempt]) -> Iterator[str]:
    last = next((attempt for attempt in reversed(attempts) if attempt.traceback), None)
    if last is not None:
        lines = last.traceback.rstrip().splitlines()[-TRACEBACK_LINES:]
        yield f"  the traceback of attempt {last.number} ends:"
        yield indent("\n".join(lines), "    ")
