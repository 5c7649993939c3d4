"""What the rows, the letters and the log must say once all has happened."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from smtplib import SMTPException

from django.conf import settings
from django.utils.module_loading import import_string

from django_retrytasks.models import Attempt, Status, Task
from django_retrytasks.policy import StopReason

from . import site
from .rows import Record, subject
from .smtp import Letter


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All there is to judge: the rows, the letters that arrived, and what the cluster logged."""

    records: Sequence[Record]
    letters: Sequence[Letter]
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """How one message must have fared: `raised` has a class per attempt, None where it succeeds."""

    raised: tuple[type[Exception] | None, ...]
    status: Status
    stop_reason: str = ""


LOGGER = " django_retrytasks "

EXPECTATIONS = (
    Expectation(
        raised=(ConnectionError, TimeoutError, SMTPException, SMTPException),
        status=Status.FAILED,
        stop_reason=StopReason.MAX_RETRIES,
    ),
    Expectation(raised=(SMTPException, SMTPException, None), status=Status.SUCCEEDED),
    Expectation(raised=(None,), status=Status.SUCCEEDED),
)


def faults(evidence: Evidence) -> list[str]:
    """Return, in words, each point in which what happened is not what was meant to happen."""
    return [
        *differences("messages sent", len(evidence.records), len(EXPECTATIONS)),
        *record_faults(evidence.records),
        *letter_faults(evidence.letters),
        *log_faults(evidence),
    ]


def record_faults(records: Sequence[Record]) -> Iterator[str]:
    for record, expected in zip(records, EXPECTATIONS, strict=False):
        for fault in (
            *task_faults(record.task, expected),
            *attempt_faults(record.attempts, expected),
            *spacing_faults(record.attempts),
        ):
            yield f"{subject(record.task)}: {fault}"


def task_faults(task: Task, expected: Expectation) -> Iterator[str]:
    yield from differences("status", task.status, expected.status)
    yield from differences("stop_reason", task.stop_reason, expected.stop_reason)
    yield from differences("retry_count", task.retry_count, len(expected.raised) - 1)


def attempt_faults(attempts: Sequence[Attempt], expected: Expectation) -> Iterator[str]:
    last = len(expected.raised)
    yield from differences("attempts", [a.number for a in attempts], [*range(1, last + 1)])
    for attempt, raised in zip(attempts, expected.raised, strict=False):
        name = f"attempt {attempt.number}"
        outcome = Attempt.Outcome.FAILED if raised else Attempt.Outcome.SUCCEEDED
        yield from differences(f"{name}'s outcome", attempt.outcome, outcome)
        yield from differences(f"{name}'s retry_count", attempt.retry_count, attempt.number - 1)
        yield from differences(
            f"{name} was retried", attempt.next_run_after is not None, attempt.number < last
        )
        if not is_a(attempt.exception_class_path, raised):
            yield f"{name} raised {attempt.exception_class_path or 'nothing'}, not a {raised}"


def is_a(class_path: str, raised: type[Exception] | None) -> bool:
    if raised is None or not class_path:
        return raised is None and not class_path
    return issubclass(import_string(class_path), raised)


def spacing_faults(attempts: Sequence[Attempt]) -> Iterator[str]:
    countdown = timedelta(seconds=settings.EMAIL_COUNTDOWN)
    for earlier, later in pairwise(attempts):
        due = earlier.next_run_after
        if due is None or due < earlier.finished_at + countdown or later.started_at < due:
            yield (
                f"attempt {later.number} started at {later.started_at:%X.%f}, due at {due:%X.%f}, "
                f"{countdown} after {earlier.finished_at:%X.%f}"
            )


def letter_faults(letters: Sequence[Letter]) -> Iterator[str]:
    """The broken mailbox has none; each of the others has one, the admins' their alert."""
    recipients = sorted(recipient for letter in letters for recipient in letter.recipients)
    expected = sorted([settings.ADMIN_EMAIL, site.GREYLISTED, site.HEALTHY])
    yield from differences("letters received", recipients, expected)


def log_faults(evidence: Evidence) -> Iterator[str]:
    """The final failure is one error of the package's own in the log, with the Task's id."""
    for record in evidence.records[:1]:
        pk = str(record.task.pk)
        own = [line for line in evidence.log.splitlines() if pk in line and LOGGER in line]
        errors = [line for line in own if " ERROR " in line]
        yield from differences(f"{subject(record.task)}: errors logged", len(errors), 1)


def differences(what: str, found: object, expected: object) -> Iterator[str]:
    if found != expected:
        yield f"{what}: {found}, expected {expected}"
