"""The interface of a task to its backend."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django_retrytasks.values.contract import BaseTaskBackend

if TYPE_CHECKING:
    from .result import RetryTaskResult

Call = tuple[Sequence[Any], Mapping[str, Any]]
"""The positional and the keyword arguments of a call."""


class StoringBackend(BaseTaskBackend):
    """A backend that stores Tasks: the interface that :class:`RetryTask` needs."""

    @property
    @abstractmethod
    def policy_options(self) -> Mapping[str, Any]:
        """Return the default policy options of tasks on this backend."""

    @abstractmethod
    def enqueue_many(
        self, task: Any, calls: Iterable[Call], *, results: bool = True
    ) -> list[RetryTaskResult[Any]]:
        """Store one Task per call, all or none; return no results unless they are wanted."""
