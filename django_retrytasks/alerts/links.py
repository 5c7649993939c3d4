"""URLs of the admin's pages in an alert."""

from __future__ import annotations

import uuid
from contextlib import suppress

from django.apps import apps
from django.urls import reverse

from django_retrytasks import conf
from django_retrytasks.models import FailureGroup, Task


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
