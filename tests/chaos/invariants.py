"""What must hold over all rows once everything is over, however often it was interrupted."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from itertools import pairwise
from pathlib import Path

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason
from django_retrytasks.values.entries import ANNOUNCE_ENTRY
from tests.chaos.bodies import Entry, entries

Outcome = Attempt.Outcome
# How an attempt may end that is not lost, by the first word of its script. A process frozen for a
# moment may miss its timeout.
ENDINGS = {
    "return": {Outcome.SUCCEEDED, Outcome.TIMED_OUT},
    "sleep": {Outcome.SUCCEEDED, Outcome.TIMED_OUT},
    "raise": {Outcome.FAILED, Outcome.TIMED_OUT},
    "retry": {Outcome.FAILED, Outcome.TIMED_OUT},
    "quit": {Outcome.FAILED, Outcome.TIMED_OUT},
    "overrun": {Outcome.TIMED_OUT},
    "snooze": {Outcome.SNOOZED, Outcome.TIMED_OUT},
    "discard": {Outcome.DISCARDED, Outcome.TIMED_OUT},
    "kill": set(),
    "exit": set(),
}


def violations(directory: Path, *, frozen: Collection[int]) -> list[str]:
    """Return what does not hold, in words.

    Args:
        directory: the diaries of the bodies.
        frozen: ids of processes that were stopped for a while: theirs may overlap another's run.
    """
    found = []
    announced = _announced()
    for task in Task.objects.prefetch_related("attempts").iterator(chunk_size=500):
        attempts = list(task.attempts.all())
        problems = [*_of_any(task, attempts)]
        if task.internal:
            problems += _of_internal(task)
        else:
            problems += [*_of_script(task, attempts), *_of_announcement(task, announced)]
        found += [f"{task.name.rpartition('.')[2]} {task.pk}: {problem}" for problem in problems]
    return [*found, *_of_diaries(entries(directory), frozen)]


def _of_any(task: Task, attempts: list[Attempt]) -> Iterator[str]:
    numbers = [attempt.number for attempt in attempts]
    outcomes = [attempt.outcome for attempt in attempts]
    tries = len(attempts) - outcomes.count(Outcome.SNOOZED)
    if not task.is_finished:
        yield f"not final but {task.status}"
    if numbers != list(range(1, len(numbers) + 1)):
        yield f"attempts are numbered {numbers}"
    if task.attempt_count != len(attempts):
        yield f"attempt_count is {task.attempt_count}, attempts are {len(attempts)}"
    if task.max_retries is not None and tries > task.max_retries + 1:
        yield f"{tries} tries with max_retries={task.max_retries}"
    if task.crash_count != outcomes.count(Outcome.LOST):
        yield f"crash_count is {task.crash_count}, lost are {outcomes.count(Outcome.LOST)}"
    if task.is_finished:
        yield from _of_final(task, attempts, tries)


def _of_final(task: Task, attempts: list[Attempt], tries: int) -> Iterator[str]:
    succeeded = [attempt.number for attempt in attempts if attempt.outcome == Outcome.SUCCEEDED]
    ends = [attempt.number for attempt in attempts if attempt.next_run_after is None]
    if succeeded != ([len(attempts)] if task.status == Status.SUCCEEDED else []):
        yield f"{task.status}, but these attempts succeeded: {succeeded}"
    if ends != [len(attempts)]:
        yield f"of {len(attempts)} attempts these were the last: {ends}"
    exhausted = task.max_retries is not None and tries == task.max_retries + 1
    if task.stop_reason == StopReason.MAX_RETRIES and not exhausted:
        yield f"max retries reached after {tries} tries"


def _of_script(task: Task, attempts: list[Attempt]) -> Iterator[str]:
    script = task.args[1]
    for attempt in attempts:
        word = script[min(attempt.number, len(script)) - 1].split()[0]
        if attempt.outcome not in ENDINGS[word] | {Outcome.LOST}:
            yield f"attempt {attempt.number} was to {word}, ended {attempt.outcome}"


def _announced() -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for task in Task.objects.filter(name=ANNOUNCE_ENTRY):
        for pk, number in task.args[0]:
            found[pk].append(number)
    return found


def _of_announcement(task: Task, announced: dict[str, list[int]]) -> Iterator[str]:
    due = [task.attempt_count] if task.status == Status.FAILED else []
    if announced[str(task.pk)] != due:
        yield f"{task.status}, announced after attempts {announced[str(task.pk)]}"


def _of_internal(task: Task) -> Iterator[str]:
    if task.is_finished and task.status != Status.SUCCEEDED:
        yield f"{task.status} {task.stop_reason}: a failure was not heard"


def _of_diaries(diaries: list[Entry], frozen: Collection[int]) -> Iterator[str]:
    by_task: dict[str, list[Entry]] = defaultdict(list)
    for entry in sorted(diaries, key=lambda entry: entry.start):
        by_task[entry.task].append(entry)
    known = {str(pk) for pk in Task.objects.values_list("pk", flat=True)}
    yield from (f"{pk} ran, but was never committed" for pk in by_task.keys() - known)
    for pk, runs in by_task.items():
        yield from (f"{pk}: {text}" for text in _overlaps(runs, frozen))
    yield from _unwitnessed(diaries)


def _overlaps(runs: list[Entry], frozen: Collection[int]) -> Iterator[str]:
    ended = [run for run in runs if run.end is not None and run.pid not in frozen]
    for one, other in pairwise(ended):
        if one.end is not None and other.start < one.end:
            yield f"attempts {one.attempt} and {other.attempt} ran at the same time"


def _unwitnessed(diaries: list[Entry]) -> Iterator[str]:
    seen = Counter((run.task, run.attempt, run.pid) for run in diaries)
    attempts = Attempt.objects.filter(task__internal=False).exclude(outcome=Outcome.LOST)
    for pk, number, worker in attempts.values_list("task_id", "number", "worker"):
        if not seen[str(pk), number, int(worker.split(":")[1])]:
            yield f"{pk}: attempt {number} is recorded of a process that never ran it"
