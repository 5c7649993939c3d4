"""The result object of an enqueued Task."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django_retrytasks.values.contract import TASK_REFRESH_ATTRS, AnyTaskResult, BaseTask
from django_retrytasks.values.progress import Progress

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryTaskResult(AnyTaskResult, Generic[R]):  # type: ignore[misc]  # the stubs forget it is frozen
    """A Task's state as a ``django.tasks`` result; arguments keep the codec's types.

    Attributes:
        progress: what the running or last attempt has reported; None if it has reported nothing.
        created: whether the enqueue that returned it stored the Task. False if it found the
            unfinished Task of the same unique key, and for results from elsewhere, such as
            ``get_result``.
    """

    progress: Progress | None = field(default=None, compare=False)
    created: bool = field(default=False, compare=False)

    if TYPE_CHECKING:  # unknown to django-stubs before 6.0, which lack django.tasks
        task: BaseTask[Any, R]
        id: str
        enqueued_at: datetime | None
        started_at: datetime | None
        finished_at: datetime | None
        last_attempted_at: datetime | None
        args: list[Any]
        kwargs: dict[str, Any]
        backend: str
        worker_ids: list[str]

        @property
        def return_value(self) -> R: ...
        @property
        def is_finished(self) -> bool: ...
        @property
        def attempts(self) -> int: ...

    def refresh(self) -> None:
        """Read the state again."""
        self._adopt(self.task.get_backend().get_result(self.id))

    async def arefresh(self) -> None:
        """Read the state again, from asynchronous code."""
        self._adopt(await self.task.get_backend().aget_result(self.id))

    def _adopt(self, latest: Any) -> None:
        for name in (*TASK_REFRESH_ATTRS, "progress"):
            object.__setattr__(self, name, getattr(latest, name))

    def __post_init__(self) -> None:
        """Skip Django's conversion of the arguments: the codec has already checked them."""
