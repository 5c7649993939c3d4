"""Failures made known: announcements to the site's code, alerts to its people."""

from .alert import Alert
from .sinks import apprise, log, mail, mail_admins, webhook
from .webhooks import NotDelivered

__all__ = [
    "Alert",
    "NotDelivered",
    "apprise",
    "log",
    "mail",
    "mail_admins",
    "webhook",
]
