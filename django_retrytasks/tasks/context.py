"""The context of a running task function: its Task, and methods that steer it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, Never

from django.utils import timezone

from django_retrytasks import lifecycle
from django_retrytasks.exceptions import Retry
from django_retrytasks.models import Task
from django_retrytasks.values import codec
from django_retrytasks.values.checked import UNSET, Duration, Unset
from django_retrytasks.values.contract import AnyTaskContext, AnyTaskResult


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
    """

    row: Task

    def __init__(self, *, row: Task, read: Callable[[], AnyTaskResult]) -> None:
        self.__dict__.update(row=row, _read=read)

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
        return f"self.retry() cannot change {', '.join(impossible)}: a retry is the same call again"

    def heartbeat(self) -> bool:
        """Extend the lease now; return False if another worker has taken the Task over.

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


def _is_stored_as(value: Any, stored: Any) -> bool:
    with suppress(Exception):  # a value that cannot be stored differs from a stored value
        return bool(codec.loads(codec.dumps(value)) == stored)
    return False
