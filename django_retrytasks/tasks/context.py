"""The context of a running task function: its Task, and methods that steer it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Literal, Never

from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.errors.reports import storable
from django_retrytasks.exceptions import Retry
from django_retrytasks.models import Task
from django_retrytasks.values import codec
from django_retrytasks.values.checked import UNSET, Duration, Unset, meant
from django_retrytasks.values.contract import AnyTaskContext, AnyTaskResult
from django_retrytasks.values.progress import TEXT_LIMIT, Number, Progress

from .redaction import without

# Bytes of a report's text in which secrets are looked for.
TEXT_READ = 10 * TEXT_LIMIT
RETRY_OPTIONS = ("exc", "countdown", "eta", "max_retries", "throw")


@dataclass(frozen=True, slots=True)
class Request:
    """The state of a Task in Celery's spelling."""

    id: str
    """The Task's id."""
    retries: int
    """Retries spent so far: 0 at the first attempt."""


class RetryTaskContext(AnyTaskContext):
    """The first argument of a function decorated with ``bind=True`` or ``takes_context=True``.

    Args:
        row: the running Task.
        read: reads its result with its attempts; called once, at the first ``task_result``.
        secrets: returns the texts of its secret arguments.
    """

    row: Task

    def __init__(
        self,
        *,
        row: Task,
        read: Callable[[], AnyTaskResult],
        secrets: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self.__dict__.update(row=row, _read=read, _secrets=secrets)

    @cached_property
    def task_result(self) -> AnyTaskResult:  # type: ignore[override]
        """Return the django.tasks result of the Task, with the ``errors`` so far."""
        result: AnyTaskResult = self.__dict__["_read"]()
        return result

    @property
    def attempt(self) -> int:
        """Return the number of this attempt, from 1."""
        return self.row.attempt_count + 1

    @property
    def retry_count(self) -> int:
        """Return the retries spent so far: 0 at the first attempt."""
        return self.row.retry_count

    @property
    def max_retries(self) -> int | None:
        """Return the most retries; None: no limit."""
        return self.row.max_retries

    @property
    def idempotency_key(self) -> str:
        """Return a key that all attempts of this Task share, and no other Task has."""
        return str(self.row.pk)

    @property
    def request(self) -> Request:
        """Return the id and the retries so far, as in Celery's ``self.request``."""
        return Request(id=str(self.row.pk), retries=self.row.retry_count)

    def retry(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        exc: BaseException | None = None,
        countdown: Duration | None = None,
        eta: datetime | None = None,
        max_retries: int | Literal[Unset.UNSET] | None = UNSET,
        queue: str | None = None,
        throw: bool = True,
        **others: Never,
    ) -> Retry:
        """Raise :class:`Retry`; ``raise self.retry(...)`` and ``self.retry(...)`` do the same.

        A wrong argument does not hide the failure: the attempt is recorded and retried, and its
        decision names the mistake.

        Args:
            args: accepted for Celery; other arguments than the Task's are a mistake.
            kwargs: as ``args``.
            exc: the failure; by default the exception being handled.
            countdown: exact seconds (or a timedelta) to wait; by default the policy decides.
            eta: a datetime in place of ``countdown``, aware unless ``USE_TZ`` is off.
            max_retries: replaces the Task's for this decision; None: no limit.
            queue: as ``args``; another queue than the Task's is a mistake.
            throw: False: return the Retry, for the function to raise.

        Raises:
            Retry: unless ``throw`` is False.
        """
        options = {"countdown": countdown, "eta": eta, "max_retries": max_retries}
        retry = _retry(exc, sys.exception(), options)
        mistake = self._mistake(args=args, kwargs=kwargs, queue=queue, **others)
        retry.mistake = retry.mistake or mistake
        retry.__cause__ = retry.exc
        if throw:
            raise retry
        return retry

    def _mistake(self, **changes: Any) -> str:
        """Return a message about changes that a retry cannot make; "" if there are none."""
        row = self.row
        own = {"args": row.args, "kwargs": row.kwargs, "queue": row.queue_name}
        impossible = [
            name
            for name, value in changes.items()
            if value is not None and not _is_stored_as(value, own.get(name))
        ]
        if not impossible:
            return ""
        for name in impossible:
            if name not in own and (hint := meant(name, RETRY_OPTIONS)):
                return f"self.retry() has no option {name!r}. {hint}"
        return f"self.retry() cannot change {', '.join(impossible)}: a retry is the same call again"

    def is_cancelled(self) -> bool:
        """Whether an operator has cancelled the Task: a look at memory, which costs nothing.

        The worker learns of it when it extends the lease, each quarter of it; see `LEASE`.
        """
        return self.row.is_cancelled

    def progress(self, current: Number, total: Number | None = None, text: str = "") -> None:
        """Report how far the function is, for the admin, the command and ``result.progress``.

        The report is kept in memory. Once the function has run for a second, the worker writes the
        latest report, about once a second and on a connection of its own. So call this as often as
        you like, in a transaction too; a function that takes less than a second leaves none.

        Args:
            current: what is done, from 0 to 2 ** 53.
            total: what there is to do; None: not known.
            text: what it does now. 200 characters are stored, with stars for secret arguments.

        Raises:
            TypeError, ValueError: a number that is none, or not finite, or out of its range; a
                text that is no str.
        """
        report = Progress(current=current, total=total, text=text)
        self.row.reported = partial(_storable, report, self.__dict__["_secrets"])

    def heartbeat(self) -> bool:
        """Extend the lease now; return False if another worker has it, or it was cancelled.

        The worker extends it anyway while the function runs. Call this before a step that must not
        be done twice, to learn whether this run still counts. Do not call it in a transaction,
        where it takes effect only at the commit.
        """
        started_at = self.row.claimed_at or timezone.now()
        return lifecycle.heartbeat(self.row, started_at=started_at)


def _retry(exc: Any, handled: BaseException | None, options: Mapping[str, Any]) -> Retry:
    """Return a Retry with these options; if they are wrong, one without, that names the mistake."""
    cause = exc if exc is not None else handled
    try:
        return Retry(cause, **options)
    except (TypeError, ValueError) as error:
        retry = Retry(cause if isinstance(cause, BaseException) else handled)
        retry.mistake = f"self.retry(): {error}"
        return retry


def _storable(report: Progress, secrets: Callable[[], Sequence[str]]) -> dict[str, Any]:
    """Return a report for storage: without secrets, and its text not too long."""
    text = without(storable(report.text, TEXT_READ), secrets())
    return replace(report, text=text[:TEXT_LIMIT]).as_stored


def _is_stored_as(value: Any, stored: Any) -> bool:
    with suppress(Exception):  # a value that cannot be stored differs from a stored value
        return bool(codec.loads(codec.dumps(value)) == stored)
    return False
