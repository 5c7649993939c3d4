"""Parts of an alert: words, URLs of the admin's pages, and values in JSON's types.

The words are in the site's language, the times in its time zone.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import override

from django_retrytasks import conf
from django_retrytasks.errors.reports import storable
from django_retrytasks.models import Attempt, FailureGroup, Task
from django_retrytasks.values import codec
from django_retrytasks.values.moments import as_instant

# Bytes shown of an argument.
ARGUMENT_LIMIT = 1024
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


def change_url(row: FailureGroup | Task) -> str | None:
    return _admin_url(f"{row._meta.model_name}_change", row.pk)


def failing_url() -> str | None:
    url = _admin_url("failuregroup_changelist")
    return f"{url}?failing=yes" if url else None


def _admin_url(page: str, *args: uuid.UUID) -> str | None:
    # A site's broken URLs must not stop its alerts.
    with suppress(Exception):
        if origin := _origin():
            return origin + reverse(f"admin:retrytasks_{page}", args=args)
    return None


def _origin() -> str:
    """Return the site's origin, without a trailing slash; "" if unknown."""
    if url := conf.get().SITE_URL:
        return url.rstrip("/")
    if not apps.is_installed("django.contrib.sites"):
        return ""
    from django.contrib.sites.models import Site

    return f"https://{Site.objects.get_current().domain}"


def group_dict(group: FailureGroup, url: str | None) -> dict[str, Any]:
    return {
        "fingerprint": str(group.fingerprint),
        "kind": str(group.kind),
        "status": str(group.status),
        "name": group.name,
        "exception_class_path": group.exception_class_path,
        "origin": group.origin,
        "message": group.message,
        "failure_count": group.failure_count,
        "first_seen_at": iso(group.first_seen_at),
        "last_failed_at": iso(group.last_failed_at),
        "url": url,
    }


def task_dict(task: Task, arguments: Sequence[Fact], url: str | None) -> dict[str, Any]:
    return {
        "id": str(task.pk),
        "name": task.name,
        "queue_name": task.queue_name,
        "arguments": dict(arguments),
        "stop_reason": str(task.stop_reason),
        "url": url,
    }


def attempt_dict(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "outcome": str(attempt.outcome),
        "finished_at": iso(attempt.finished_at),
        "worker": attempt.worker,
        "exception_class_path": attempt.exception_class_path,
        "exception_message": attempt.exception_message,
        "traceback": attempt.traceback,
        "decision": attempt.decision,
    }


def json_text(value: Any) -> str:
    """Return an argument as JSON; types that the codec tags, such as dates, become plain text."""
    plain = json.loads(codec.dumps(value), object_hook=_untagged)
    return storable(json.dumps(plain, ensure_ascii=False), ARGUMENT_LIMIT)


def _untagged(item: dict[str, Any]) -> Any:
    return item["value"] if codec.TAG in item else item
