"""The ``RETRYTASKS`` setting, read at use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from typing import Any

from django.conf import settings as django_settings

Duration = float | timedelta
LOG = "django_retrytasks.alerts.log"
MAIL_ADMINS = "django_retrytasks.alerts.mail_admins"
DEFAULT_BACKEND = "django_retrytasks.backend.RetryTasksBackend"
"""The backend of a task of ours where ``TASKS`` does not name one as its default."""
DEFAULT_RETENTION = {
    "SUCCEEDED": timedelta(days=7),
    "FAILED": timedelta(days=90),
    "DISCARDED": timedelta(days=30),
}


def seconds(value: Duration) -> float:
    """Return a duration in seconds (float), given seconds or a timedelta."""
    return value.total_seconds() if isinstance(value, timedelta) else float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sink:
    """Where alerts go: a callable ``(alert, **options)`` by its dotted path."""

    name: str
    path: str
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_entry(cls, entry: str | Mapping[str, Any]) -> Sink:
        """Return the sink of an entry of ALERTS: a dotted path, or a dict.

        The dict has it under ``sink``, a ``name`` where two entries share a path, and the options.
        """
        if isinstance(entry, str):
            return cls(name=entry, path=entry)
        options = dict(entry)
        path = options.pop("sink")
        return cls(name=options.pop("name", path), path=path, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The values in force. Field names in upper case are the keys of ``RETRYTASKS``."""

    POLICY: Mapping[str, Any] = field(default_factory=dict)
    """Options of :class:`~django_retrytasks.RetryPolicy` for every task that names none."""
    LEASE: Duration = 60
    """Seconds a claim holds a Task without a heartbeat; at least 5."""
    SLICE: Duration = 1
    """Seconds a worker goes on claiming before it returns to its cluster."""
    ON_FAILURE: Sequence[str] = ()
    """Dotted paths of receivers of ``task_failed``, called as those that are connected to it."""
    ALERTS: Sequence[str | Mapping[str, Any]] = (MAIL_ADMINS,)
    """Where alerts go: dotted paths of callables ``(alert)``, or dicts of such a path, ``sink``,
    and options. Each is tried again, alone, when it raises."""
    ALERT_COOLDOWN: Duration = 3600
    """Seconds between two alerts about a group that goes on failing, but for the 10th, the 100th,
    the 1,000th failure and so on."""
    ALERT_LIMIT: int | None = 10
    """Alerts about failure groups within ALERT_COOLDOWN, the last of which tells of all the others;
    None: one for each group."""
    MAIL_EACH_FAILURE: bool = False
    """Whether ADMINS are mailed what Django logs of each final failure, beside the alerts."""
    ALERT_RULES: Sequence[Mapping[str, Any]] = ()
    """What to alert about besides final failures; looked at once a minute, by the sweep."""
    SITE_URL: str = ""
    """Where the site is reached, such as ``https://shop.example``: what alerts link to."""
    SENTRY: bool = True
    """Whether each final failure is sent to Sentry, where ``sentry_sdk`` is initialised."""
    RETENTION: Mapping[str, Duration | None] = field(default_factory=lambda: DEFAULT_RETENTION)
    """How long finished Tasks are kept, by final status: seconds or timedelta; None for ever."""
    REDACT: tuple[str, ...] = ()
    """Regular expressions of argument names whose values are never shown."""

    @property
    def sinks(self) -> list[Sink]:
        """Return where alerts go, the log first."""
        return [Sink.from_entry(LOG), *map(Sink.from_entry, self.ALERTS)]

    @property
    def cooldown(self) -> timedelta:
        """Return ALERT_COOLDOWN as a timedelta."""
        return timedelta(seconds=seconds(self.ALERT_COOLDOWN))

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
