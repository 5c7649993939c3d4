"""What a task asks of the backend that stores it."""

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
    """A backend of ``django.tasks`` that stores Tasks: what :class:`RetryTask` needs of its own."""

    @property
    @abstractmethod
    def policy_options(self) -> Mapping[str, Any]:
        """Return the policy options of each task that names none of its own."""

    @abstractmethod
    def enqueue_many(self, task: Any, calls: Iterable[Call]) -> list[RetryTaskResult[Any]]:
        """Store one Task per call, all or none."""
