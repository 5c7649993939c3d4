"""A check for django-health-check, the package: ``django_retrytasks.health.health_check.Work``."""

from __future__ import annotations

from dataclasses import dataclass

from asgiref.sync import sync_to_async
from health_check import HealthCheck
from health_check.exceptions import ServiceUnavailable

from . import verdicts


@dataclass
class Work(HealthCheck):
    """Fail if a Task has been due for too long, or if the database does not answer.

    Args:
        max_lag: seconds for which a Task may have been due.
    """

    max_lag: float = verdicts.MAX_LAG

    async def run(self) -> None:
        """Raise ServiceUnavailable with what is wrong; it has no name and no value."""
        verdict = await sync_to_async(verdicts.judge)(self.max_lag)
        if verdict.problem:
            raise ServiceUnavailable(verdict.problem)
