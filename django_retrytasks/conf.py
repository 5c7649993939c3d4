"""The ``RETRYTASKS`` setting, read at use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

Duration = float | timedelta
MAIL_ADMINS = "django_retrytasks.alerts.mail_admins"
DEFAULT_RETENTION = {
    "SUCCEEDED": timedelta(days=7),
    "FAILED": timedelta(days=90),
    "DISCARDED": timedelta(days=30),
}


def seconds(value: Duration) -> float:
    """Return a duration in seconds (float), given seconds or a timedelta."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values in force. Field names in upper case are the keys of ``RETRYTASKS``."""

    POLICY: Mapping[str, Any] = field(default_factory=dict)
    """Options of :class:`~django_retrytasks.RetryPolicy` for every task that names none."""
    LEASE: Duration = 60
    """Seconds a claim holds a Task without a heartbeat; at least 5."""
    SLICE: Duration = 1
    """Seconds a worker goes on claiming before it returns to its cluster."""
    ALERTS: tuple[str, ...] = (MAIL_ADMINS,)
    """Dotted paths of callables ``(task, attempt)``; each is tried again, alone, when it raises."""
    RETENTION: Mapping[str, Duration | None] = field(default_factory=lambda: DEFAULT_RETENTION)
    """How long finished Tasks are kept, by final status: seconds or timedelta; None for ever."""
    REDACT: tuple[str, ...] = ()
    """Regular expressions of argument names whose values are never shown."""

    @property
    def lease(self) -> float:
        """Return LEASE in seconds."""
        return seconds(self.LEASE)

    @property
    def slice(self) -> float:
        """Return SLICE in seconds."""
        return seconds(self.SLICE)

    def retention(self, status: str) -> float | None:
        """Return how many seconds finished Tasks of ``status`` are kept; None for ever."""
        kept = {**DEFAULT_RETENTION, **self.RETENTION}.get(status)
        return None if kept is None else seconds(kept)


NAMES = tuple(f.name for f in fields(Settings))


def raw() -> Mapping[str, Any]:
    """Return the site's ``RETRYTASKS`` dict as it stands, or an empty one."""
    return getattr(django_settings, "RETRYTASKS", None) or {}


def get() -> Settings:
    """Return the settings in force now. Unknown keys are left to the system check."""
    return Settings(**{name: value for name, value in raw().items() if name in NAMES})
