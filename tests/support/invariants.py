"""What must hold of all rows at every moment."""

from __future__ import annotations

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from django.db.models import Sum

from django_retrytasks.models import FINAL, UNFINISHED, Attempt, FailureGroup, Status, Task
from django_retrytasks.values.entries import ANNOUNCE_ENTRY

Outcome = Attempt.Outcome
FAILURES = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST)


def violations(*, is_pruned: bool = False) -> list[str]:
    """Return what is wrong with the rows, one sentence each; nothing, if all is well.

    Args:
        is_pruned: whether announcements may have been deleted by a prune.
    """
    tasks, attempts = list(Task.objects.all()), list(Attempt.objects.order_by("number"))
    attempts_of: dict[uuid.UUID, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        attempts_of[attempt.task_id].append(attempt)
    wrong = [
        f"{task} ({task.status}): {what}"
        for task in tasks
        for what in _wrong_with(task, attempts_of[task.pk])
    ]
    counted = [] if is_pruned else _wrong_groups(tasks, attempts)
    return [*wrong, *_wrong_announcements(tasks, attempts, is_pruned), *counted]


def _wrong_with(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    checks = (_wrong_columns, _wrong_numbers, _wrong_counts, _wrong_ends)
    for check in checks:
        yield from check(task, attempts)


def _wrong_columns(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    is_final = task.status in FINAL
    if is_final == (task.status in UNFINISHED):
        yield "its status is none, or two, of a kind"
    if (task.run_after is None) != is_final:
        yield f"its run_after is {task.run_after}"
    if (task.finished_at is not None) != is_final:
        yield f"its finished_at is {task.finished_at}"
    if (task.claim_token is not None) != (task.status == Status.RUNNING):
        yield f"its claim token is {task.claim_token}"
    if bool(task.stop_reason) != (task.status in (Status.FAILED, Status.DISCARDED)):
        yield f"its stop_reason is {task.stop_reason!r}"
    if task.status in (Status.PENDING, Status.RETRYING) and task.status != task.waiting_status:
        yield f"it has spent {task.retry_count} retries"


def _wrong_numbers(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    numbers = [attempt.number for attempt in attempts]
    if numbers != list(range(1, task.attempt_count + 1)):
        yield f"its attempts are numbered {numbers}, attempt_count is {task.attempt_count}"


def _wrong_counts(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    for drive in _drives(attempts):
        charged = [attempt for attempt in drive if _is_charged(attempt)]
        if task.max_retries is not None and len(charged) > task.max_retries + 1:
            yield f"{len(charged)} attempts in a drive, max_retries is {task.max_retries}"
    last = _drives(attempts)[-1]
    failed = [attempt for attempt in last if attempt.outcome in FAILURES]
    retried = sum(a.next_run_after is not None for a in failed if _is_charged(a))
    lost = sum(attempt.outcome == Outcome.LOST for attempt in failed)
    is_redriven = task.status in UNFINISHED and last and last[-1].next_run_after is None
    expected = (0, 0) if is_redriven else (retried, lost)
    if (task.retry_count, task.crash_count) != expected:
        yield f"retry_count, crash_count are {task.retry_count, task.crash_count}, not {expected}"


def _is_charged(attempt: Attempt) -> bool:
    is_probe = attempt.decision.startswith("probe of an open breaker")
    return attempt.outcome != Outcome.SNOOZED and not is_probe


def _drives(attempts: Sequence[Attempt]) -> list[list[Attempt]]:
    """Part attempts into drives: the last attempt of each has no next run_after."""
    drives: list[list[Attempt]] = [[]]
    for attempt in attempts:
        if drives[-1] and drives[-1][-1].next_run_after is None:
            drives.append([])
        drives[-1].append(attempt)
    return drives


def _wrong_ends(task: Task, attempts: Sequence[Attempt]) -> Iterator[str]:
    for attempt in attempts:
        is_last = attempt.next_run_after is None
        if is_last and attempt.outcome == Outcome.SNOOZED:
            yield f"nothing follows snoozed attempt {attempt.number}"
        ended_it = is_last and attempt is attempts[-1] and task.status == attempt.outcome
        if attempt.outcome in (Outcome.SUCCEEDED, Outcome.DISCARDED) and not ended_it:
            yield f"attempt {attempt.number} {attempt.outcome} was not its end"
    if task.status in (Status.SUCCEEDED, Status.FAILED):
        last = attempts[-1] if attempts else None
        if last is None or last.next_run_after is not None:
            yield "no attempt ended it"
        elif (task.status == Status.FAILED) != (last.outcome in FAILURES):
            yield f"it ended by an attempt {last.outcome}"


def _wrong_announcements(
    tasks: Iterable[Task], attempts: Iterable[Attempt], is_pruned: bool
) -> Iterator[str]:
    announced = Counter(failure for task in tasks for failure in announced_by(task))
    failures = set(final_failures(tasks, attempts))
    for failure, times in announced.items():
        if times > 1:
            yield f"final failure {failure} has {times} announcements"
        if failure not in failures and not is_pruned:
            yield f"no final failure {failure} is announced"
    for failure in () if is_pruned else failures - set(announced):
        yield f"final failure {failure} has no announcement"


def _wrong_groups(tasks: Iterable[Task], attempts: Iterable[Attempt]) -> Iterator[str]:
    """Yield where what the groups count is not what the rows hold."""
    internal = {task.pk for task in tasks if task.internal}
    own = [a for a in attempts if a.exception_class_path and a.task_id not in internal]
    counts = FailureGroup.objects.filter(kind=FailureGroup.Kind.FAILURE).aggregate(
        attempts=Sum("failed_attempt_count", default=0), finals=Sum("failure_count", default=0)
    )
    finals = sum(attempt.next_run_after is None for attempt in own)
    if counts != {"attempts": len(own), "finals": finals}:
        yield f"groups count {counts}, the rows hold {len(own)} and {finals}"


def announced_by(task: Task) -> Iterator[tuple[uuid.UUID, int]]:
    """Yield the final failures that a Task announces: a Task and an attempt's number."""
    if task.name == ANNOUNCE_ENTRY:
        for pk, number in task.args[0]:
            yield uuid.UUID(pk), number


def final_failures(
    tasks: Iterable[Task], attempts: Iterable[Attempt]
) -> Iterator[tuple[uuid.UUID, int]]:
    """Yield a Task and an attempt's number for each final failure that is to be announced."""
    internal = {task.pk for task in tasks if task.internal}
    for attempt in attempts:
        is_end = attempt.next_run_after is None and attempt.outcome in FAILURES
        if is_end and attempt.task_id not in internal:
            yield attempt.task_id, attempt.number
