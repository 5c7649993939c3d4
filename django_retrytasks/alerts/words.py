"""Put parts of an alert into words, in the site's language and time zone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from django_retrytasks.values.moments import as_instant

# The periods of a rate in seconds, the shortest first, and the words.
RATES = (
    (60, _("%(count)d a minute")),
    (3_600, _("%(count)d an hour")),
    (86_400, _("%(count)d a day")),
)

Fact = tuple[Any, Any]
"""A label and a value, for a reader."""


@contextmanager
def in_the_sites_words() -> Iterator[None]:
    """Activate the site's language and time zone in the body."""
    with override(settings.LANGUAGE_CODE), timezone.override(timezone.get_default_timezone()):
        yield


def in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def clock(at: datetime | None) -> str:
    """Return a stored time in the site's time zone, with the zone's name; "" for None."""
    zone = timezone.get_default_timezone()
    return f"{as_instant(at).astimezone(zone):%Y-%m-%d %H:%M:%S %Z}" if at else ""


def iso(at: datetime | None) -> str | None:
    return as_instant(at).isoformat() if at else None


def seconds_between(start: datetime, end: datetime) -> float:
    # The clock may have been set back in between.
    return max(0.0, (end - start).total_seconds())
