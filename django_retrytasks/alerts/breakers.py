"""Tell the site that a breaker has opened or closed: by signals, and by alerts.

The alerts are about a rule group for each breaker, with the group's mutes and cooldown.
"""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from django_retrytasks.database import writing
from django_retrytasks.lifecycle import groups
from django_retrytasks.lifecycle.internal import POLICY
from django_retrytasks.models import FailureGroup, OpenBreaker, fingerprint_of
from django_retrytasks.signals import breaker_closed, breaker_opened
from django_retrytasks.tasks import retry_task

from . import notices
from .parts import in_the_sites_words
from .sending import enqueue_alerts

SIGNALS = {"opened": breaker_opened, "closed": breaker_closed}


@retry_task(**POLICY)
def announce_breaker(change: str, name: str, key: str, at: datetime, reason: str, by: str) -> None:
    """Send the signal of a change, and enqueue its alerts."""
    SIGNALS[change].send_robust(OpenBreaker, name=name, key=key, at=at, reason=reason, by=by)
    with writing(), in_the_sites_words():
        if change == "opened":
            group = _group(name, key)
            groups.count_breach(group)
            enqueue_alerts(notices.take_due([group.pk]))
        else:
            enqueue_alerts(notices.take_ended([fingerprint_of((name, key))]))


def _group(name: str, key: str) -> FailureGroup:
    what = f"{name} ({key})" if key else name
    return FailureGroup(
        fingerprint=fingerprint_of((name, key)),
        kind=FailureGroup.Kind.RULE,
        name=name,
        message=_("The breaker of %(what)s is open: its Tasks wait") % {"what": what},
    )
