"""What a running task function is told, and how it steers its Task."""

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
    """Celery's spelling of where a Task stands."""

    id: str
    """The Task's id."""
    retries: int
    """Retries spent so far: 0 at the first attempt."""


class RetryTaskContext(AnyTaskContext):
    """The first argument of a function decorated with ``bind=True`` or ``takes_context=True``.

    Args:
        row: the Task that is being run.
        read: reads its result, attempts and all; called once, when ``task_result`` is asked for.
    """

    row: Task

    def __init__(self, *, row: Task, read: Callable[[], AnyTaskResult]) -> None:
        self.__dict__.update(row=row, _read=read)

    @cached_property
    def task_result(self) -> AnyTaskResult:  # type: ignore[override]
        """Return the Task as django.tasks shows it; its ``errors`` are those so far."""
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
        """Return the retries at most; None for ever."""
        return self.row.max_retries

    @property
    def idempotency_key(self) -> str:
        """Return a key that is the same in every attempt of this Task, and of no other."""
        return str(self.row.pk)

    @property
    def request(self) -> Request:
        """Return the id and the retries so far, as Celery's ``self.request`` has them."""
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
        """Raise :class:`Retry`, so that ``raise self.retry(...)`` and ``self.retry(...)`` are one.

        A wrong argument does not hide the failure: it is recorded, retried when the policy says,
        and the decision names the mistake.

        Args:
            args: Celery's; a retry has the Task's own arguments, and others are a mistake.
            kwargs: as ``args``.
            exc: what went wrong; by default the exception being handled.
            countdown: exactly so many seconds (or a timedelta); by default what the policy says.
            eta: a datetime in place of ``countdown``, aware unless ``USE_TZ`` is off.
            max_retries: in place of the Task's, for this decision alone; None for ever.
            queue: as ``args``, of the queue's name.
            throw: False to have the Retry returned, for the function to raise.

        Raises:
            Retry: unless ``throw`` is False.
        """
        asked = {"countdown": countdown, "eta": eta, "max_retries": max_retries}
        retry = _retry(exc, sys.exception(), asked)
        vain = self._mistake(args=args, kwargs=kwargs, queue=queue, **others)
        retry.mistake = retry.mistake or vain
        retry.__cause__ = retry.exc
        if throw:
            raise retry
        return retry

    def _mistake(self, **asked: Any) -> str:
        """Return what of a retry cannot be had, in words: it is the same call; "" for nothing."""
        row = self.row
        own = {"args": row.args, "kwargs": row.kwargs, "queue": row.queue_name}
        vain = [
            name
            for name, value in asked.items()
            if value is not None and not _is_stored_as(value, own.get(name))
        ]
        if not vain:
            return ""
        return f"self.retry() cannot change {', '.join(vain)}: a retry is the same call again"

    def heartbeat(self) -> bool:
        """Extend the lease now; return False if another worker has taken the Task over.

        A worker does so by itself for as long as the function runs. Call it to learn, before a
        step that must not be done twice, whether this run still counts; not inside a transaction,
        where nothing takes effect before the commit.
        """
        started_at = self.row.claimed_at or timezone.now()
        return lifecycle.heartbeat(self.row, started_at=started_at)


def _retry(exc: Any, handled: BaseException | None, asked: Mapping[str, Any]) -> Retry:
    """Return a Retry as asked for; if that is a mistake, a plain one that names it."""
    cause = exc if exc is not None else handled
    try:
        return Retry(cause, **asked)
    except (TypeError, ValueError) as error:
        retry = Retry(cause if isinstance(cause, BaseException) else handled)
        retry.mistake = f"self.retry(): {error}"
        return retry


def _is_stored_as(value: Any, stored: Any) -> bool:
    with suppress(Exception):  # what cannot be stored is not what was
        return bool(codec.loads(codec.dumps(value)) == stored)
    return False
