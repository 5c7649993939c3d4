"""The output of ``manage.py retrytasks``, line by line."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_retrytasks import health
from django_retrytasks.errors.reports import class_path
from django_retrytasks.models import FailureGroup, Operation, Pause
from django_retrytasks.policy import RetryPolicy
from django_retrytasks.values.texts import number_text

# Control, formatting and surrogate characters, line and paragraph separators.
UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(line: str) -> str:
    r"""Return a line with control characters escaped, such as ``\x1b``: a terminal obeys none."""
    return "".join(
        each.encode("unicode_escape").decode() if unicodedata.category(each) in UNSEEN else each
        for each in line
    )


def health_lines(state: health.Health, *, is_late: bool, as_json: bool) -> Iterable[str]:
    """Return the state of queues, claims and sweep, as a table or as JSON."""
    if as_json:
        values = {"ok": not is_late, "lag": state.lag, **asdict(state)}
        yield from json.dumps(values, cls=DjangoJSONEncoder, indent=2).splitlines()
        return
    yield f"{'queue':<20}  {'due':>6}  {'oldest due for':>14}"
    for queue in state.queues:
        paused = "  paused" if queue.is_paused else ""
        yield f"{queue.queue_name:<20}  {queue.due_count:>6}  {queue.lag:>12.1f} s{paused}"
    for name in state.paused_names:
        yield f"paused: {name}"
    yield f"running: {state.running_count}"
    yield f"last claim: {_moment_or_never(state.last_claim_at)}"
    yield f"last sweep: {_moment_or_never(state.swept_at)}"
    for fault in state.broken_schedules:
        yield f"cannot run, and holds up all schedules: {fault}"


def operation_lines(**options: Any) -> Iterable[str]:
    """Return a line for each operation, the latest first."""
    for row in Operation.objects.order_by("-started_at"):
        done = f"{row.done_count} of {row.matched_count} done, {row.skipped_count} skipped"
        because = f" ({row.stopped_because})" if row.stopped_because else ""
        yield f"{row.pk}  {row.verb:<7}  {row.status:<7}  {done}{because}"


def pause_lines(**options: Any) -> Iterable[str]:
    """Return a line for each pause, the oldest first."""
    for row in Pause.objects.order_by("paused_at"):
        kind = "queue" if row.queue_name else "task"
        about = ", ".join(text for text in (row.paused_by, row.reason) if text)
        since = f"{kind} {row}, since {_moment_or_never(row.paused_at)}"
        yield f"{since}: {about}" if about else since


def group_lines(groups: Iterable[FailureGroup]) -> Iterable[str]:
    """Return a heading and a line for each failure group."""
    yield f"{'fingerprint':<36}  {'status':<8}  {'failures':>8}  {'last seen':<19}  what"
    for group in groups:
        last = f"{group.last_seen_at:%Y-%m-%d %H:%M:%S}"
        count = group.failure_count
        yield f"{group.pk}  {group.status:<8}  {count:>8}  {last}  {group}"


def _moment_or_never(at: datetime | None) -> str:
    return at.isoformat(sep=" ", timespec="seconds") if at else "never"


def retry_lines(path: str, policy: RetryPolicy) -> Iterable[str]:
    """Return the retries that a policy allows, and the wait before each."""
    yield f"{path}: {_summary(policy)}"
    yield from _table(policy)
    yield from _notes(policy)


def _summary(policy: RetryPolicy) -> str:
    match policy.max_retries:
        case None:
            return "retried for ever"
        case 0:
            return "never retried"
        case 1:
            return "1 retry at most"
    return f"{policy.max_retries} retries at most"


def _table(policy: RetryPolicy) -> Iterable[str]:
    schedule = policy.schedule()
    total = 0.0
    if schedule:
        yield f"{'retry':>5}  {'least':>10}  {'most':>10}  {'cumulative':>12}"
    for number, least, most in schedule:
        total += most
        least_text, most_text, total_text = map(number_text, (least, most, total))
        yield f"{number:>5}  {least_text:>10}  {most_text:>10}  {total_text:>12}"


def _notes(policy: RetryPolicy) -> Iterable[str]:
    shown = len(policy.schedule())
    if shown:
        yield "In seconds; cumulative is the most waited so far, run times left out."
    if shown and policy.max_retries != shown:
        yield f"The first {shown} retries are shown."
    if callable(policy.backoff) and policy.max_retries != 0:
        yield f"Each wait is decided by {_path(policy.backoff)} when the attempt has failed."
    if policy.retry_for is not None:
        longest = number_text(policy.retry_for)
        yield f"No retry begins later than {longest} s after the first start."


def _path(function: Any) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', class_path(type(function)))}"
