"""The result object of an enqueued Task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django_retrytasks.values.contract import AnyTaskResult, BaseTask

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryTaskResult(AnyTaskResult, Generic[R]):  # type: ignore[misc]  # the stubs forget it is frozen
    """A Task's state as a ``django.tasks`` result; arguments keep the codec's types."""

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

    def __post_init__(self) -> None:
        """Skip Django's conversion of the arguments: the codec has already checked them."""
