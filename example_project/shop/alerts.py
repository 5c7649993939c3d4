"""How the admins hear of failures: by a mail server that need not be the one that fails."""

from typing import Any

import django
from django.conf import settings
from django.core import mail

from django_retrytasks.alerts import Alert


def mail_admins(alert: Alert) -> None:
    """Mail an alert to ADMINS through ALERT_MAIL_SERVER."""
    mail.mail_admins(alert.subject, alert.text, html_message=alert.html, **server())


def server() -> dict[str, Any]:
    if django.VERSION >= (6, 1):
        return {"using": "alerts"}
    return {"connection": mail.get_connection(**settings.ALERT_MAIL_SERVER)}
