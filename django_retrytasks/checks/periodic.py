"""Checks of periodic Tasks: their names, what reads cron lines, and their rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import Error, Tags, Warning, register
from django.db import DEFAULT_DB_ALIAS

from django_retrytasks.models import PeriodicTask
from django_retrytasks.tasks import discovery, periodic
from django_retrytasks.values.calendars import has_croniter

from . import common
from .common import Found, q_cluster, registered


@registered
def check_periodic() -> Found:
    """Check that each name is declared once, and that cron lines can be read."""
    discovery.discover()
    for name, paths in periodic.clashes().items():
        yield Error(
            f"{len(paths)} periodic Tasks have the name {name!r}, of {', '.join(sorted(paths))}: "
            "neither is stored.",
            hint="Give each a name of its own: periodic(..., name=...).",
            id="retrytasks.E019",
        )
    with_cron = [each.name for each in periodic.declarations() if each.calendar.cron]
    if with_cron and not has_croniter():
        yield Error(
            f"croniter is not installed, so these periodic Tasks never come: {with_cron}.",
            hint="pip install 'django-retrytasks[periodic]', or give every= in place of cron=.",
            id="retrytasks.E018",
        )


@register(Tags.database)
def check_periodic_rows(databases: Sequence[str] | None = None, **kwargs: Any) -> Found:
    """Check that the code declares what is stored, if ``--database`` names its database."""
    alias = q_cluster().get("orm") or DEFAULT_DB_ALIAS
    if alias not in (databases or ()) or not common.is_migrated(alias) or discovery.discover():
        return
    digests = {each.name: each.digest for each in periodic.declarations()}
    rows = PeriodicTask.objects.declared().exclude(name__in=periodic.clashes())
    for row in rows:
        here = digests.get(row.name)
        if row.digest != here and (not here or here in row.earlier_digests):
            how = "declared otherwise" if here else "not declared"
            yield Warning(
                f"The periodic Task {row.name!r} of {row.task_name} is stored, but {how} in this "
                "code: it goes on as it is stored.",
                hint="If this code is the latest, run manage.py migrate, which stores what it "
                "declares.",
                id="retrytasks.W017",
            )
