"""The ways to enqueue calls of a task: those of django.tasks, many at once, and Celery's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, Never, ParamSpec, TypeVar

from django.utils import timezone

from django_retrytasks.policy.celery_words import unknown_option
from django_retrytasks.values import checked, moments
from django_retrytasks.values.contract import BaseTask

from .options import APPLY_OPTIONS, split_apply, split_call
from .storing import StoringBackend

if TYPE_CHECKING:
    from .result import RetryTaskResult

P = ParamSpec("P")
R = TypeVar("R")


class Calls(BaseTask[P, R], Generic[P, R]):
    """What enqueues calls of a task; see :class:`RetryTask`, which is one."""

    if TYPE_CHECKING:
        using: Any

    def enqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> RetryTaskResult[R]:
        """Store one Task in the caller's transaction.

        Raises:
            InvalidTask: the task does not fit its backend.
            TypeError: the call does not fit the function, or an argument cannot be stored.
        """
        backend: Any = self.get_backend()
        return backend.enqueue(self, args, kwargs)  # type: ignore[no-any-return]

    async def aenqueue(self, /, *args: P.args, **kwargs: P.kwargs) -> RetryTaskResult[R]:
        """Store one Task from asynchronous code; see :meth:`enqueue`."""
        result: Any = await self.get_backend().aenqueue(self, list(args), kwargs)
        return result  # type: ignore[no-any-return]

    def enqueue_many(
        self, calls: Iterable[Sequence[Any] | Mapping[str, Any]], *, results: bool = True
    ) -> list[RetryTaskResult[R]]:
        """Store one Task per call, all or none, in a few statements per thousand.

        Args:
            calls: each call's positional arguments (a tuple or list) or keyword arguments (a
                mapping).
            results: whether to return the results; False: [], for more calls than fit in memory.

        Raises:
            TypeError: a call does not fit the function, or an argument cannot be stored.
        """
        backend: Any = self.get_backend()
        pairs = map(split_call, calls)
        if isinstance(backend, StoringBackend):
            return backend.enqueue_many(self, pairs, results=results)
        enqueued = [backend.enqueue(self, *pair) for pair in list(pairs)]
        return enqueued if results else []

    def delay(self, /, *args: P.args, **kwargs: P.kwargs) -> RetryTaskResult[R]:
        """Enqueue, in Celery's spelling."""
        return self.enqueue(*args, **kwargs)

    def apply_async(
        self,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: checked.Duration | None = None,
        eta: datetime | None = None,
        expires: checked.Duration | datetime | None = None,
        queue: str | None = None,
        priority: int | None = None,
        **others: Never,
    ) -> RetryTaskResult[R]:
        """Enqueue, in Celery's spelling.

        Args:
            args: positional arguments, a tuple or a list.
            kwargs: keyword arguments, a mapping.
            countdown: seconds (or a timedelta) until the earliest start.
            eta: the earliest start in place of ``countdown``, aware unless ``USE_TZ`` is off.
            expires: the latest start of the first attempt: seconds (or a timedelta) from now, or a
                datetime. A Task not started by then is discarded.
            queue: the name of the queue.
            priority: -100 to 100; higher runs first.

        Raises:
            TypeError: another option of Celery's, or ``countdown`` beside ``eta``.
        """
        for name in others:
            raise TypeError(f"{self.name}: {unknown_option(name, APPLY_OPTIONS)}")
        if countdown is not None and eta is not None:
            raise TypeError(f"{self.name}: give countdown or eta, not both")
        if countdown is not None:
            wait = checked.as_seconds(f"{self.name}: countdown", countdown)
            eta = moments.after(timezone.now(), timedelta(seconds=wait))
        chosen: Calls[P, R] = self.using(
            run_after=eta, expires=expires, queue_name=queue, priority=priority
        )
        positional, keywords = split_apply(args, kwargs, owner=self.name)
        return chosen.enqueue(*positional, **keywords)
