"""The settings ``RETRYTASKS`` and ``Q_CLUSTER``, read at use."""

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


def q_cluster() -> Mapping[str, Any]:
    """Return ``Q_CLUSTER``; {} where it is no dict, which a check finds."""
    return _mapping(getattr(django_settings, "Q_CLUSTER", None))


def alternatives() -> Mapping[str, Mapping[str, Any]]:
    """Return the own settings of each other cluster, by its key; {} for one that is no dict."""
    others = _mapping(q_cluster().get("ALT_CLUSTERS"))
    return {key: _mapping(own) for key, own in others.items()}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


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

        The dict holds the path under ``sink``, the options, and a ``name`` if entries share a path.
        """
        if isinstance(entry, str):
            return cls(name=entry, path=entry)
        options = dict(entry)
        path = options.pop("sink")
        return cls(name=options.pop("name", path), path=path, options=options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force. Fields in upper case are the keys of ``RETRYTASKS``."""

    POLICY: Mapping[str, Any] = field(default_factory=dict)
    """Options of :class:`~django_retrytasks.RetryPolicy` for tasks without their own."""
    LEASE: Duration = 60
    """Seconds a claim holds a Task without a heartbeat; at least 5."""
    SLICE: Duration = 1
    """Seconds for which a worker claims before it returns to its cluster."""
    AROUND: Sequence[str] = ()
    """Dotted paths of callables ``(context)`` that return context managers, which each call of a
    task's function is run inside of; the first one is entered first and left last."""
    ON_FAILURE: Sequence[str] = ()
    """Dotted paths of receivers of ``task_failed``, in addition to connected ones."""
    ALERTS: Sequence[str | Mapping[str, Any]] = (MAIL_ADMINS,)
    """Sinks of alerts: dotted paths of callables ``(alert)``, or dicts with such a path under
    ``sink``, and options. A sink that raises is retried alone."""
    ALERT_COOLDOWN: Duration = 3600
    """Seconds between two alerts about a group that keeps failing. Its 10th, 100th, 1,000th failure
    and so on alert at once."""
    ALERT_LIMIT: int | None = 10
    """Most alerts about failure groups within ALERT_COOLDOWN; the last one reports all remaining
    groups. None: one alert for each group."""
    MAIL_EACH_FAILURE: bool = False
    """Whether ADMINS are mailed Django's log record of each final failure, beside the alerts."""
    ALERT_RULES: Sequence[Mapping[str, Any]] = ()
    """Rules for alerts besides final failures; the sweep checks them once a minute."""
    SITE_URL: str = ""
    """URL of the site, such as ``https://shop.example``: the base of links in alerts."""
    SENTRY: bool = True
    """Whether final failures, and traces, are sent to Sentry, if ``sentry_sdk`` is initialised."""
    OTEL: bool = True
    """Whether traces are made by OpenTelemetry, if it is imported and has a tracer provider."""
    RETENTION: Mapping[str, Duration | None] = field(default_factory=lambda: DEFAULT_RETENTION)
    """How long finished Tasks are kept, by final status: seconds or timedelta; None: for ever."""
    REDACT: tuple[str, ...] = ()
    """Regular expressions of argument names whose values are never shown."""

    @property
    def sinks(self) -> list[Sink]:
        """Return the sinks of alerts, the log first."""
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
        """Return the seconds for which finished Tasks of ``status`` are kept; None: for ever."""
        kept = {**DEFAULT_RETENTION, **self.RETENTION}.get(status)
        return None if kept is None else seconds(kept)


NAMES = tuple(f.name for f in fields(Settings))


def raw() -> Mapping[str, Any]:
    """Return the site's ``RETRYTASKS`` dict unchecked; {} if it has none."""
    return getattr(django_settings, "RETRYTASKS", None) or {}


def get() -> Settings:
    """Return the settings in force now. Ignore unknown keys: a system check reports them."""
    global _latest
    entries, settings = _latest
    if (now := raw()) != entries:
        entries = dict(now)
        settings = Settings(**{name: entries[name] for name in NAMES if name in entries})
        _latest = entries, settings
    return settings


# The entries of ``RETRYTASKS`` when it was last read, and the settings made of them.
_latest: tuple[Mapping[str, Any], Settings] = ({}, Settings())
