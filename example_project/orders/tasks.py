"""The shop's background work."""

from smtplib import SMTPServerDisconnected
from typing import Any

from django.conf import settings
from django.core.mail import EmailMessage

from django_retrytasks import RetryTaskContext, retry_task


@retry_task(bind=True, max_retries=3)
def send_email(self: RetryTaskContext, email: dict[str, Any]) -> None:
    """Send one message; `email` holds the arguments of Django's EmailMessage."""
    try:
        deliver(email)
    except Exception as exc:
        raise self.retry(exc=exc, countdown=settings.EMAIL_COUNTDOWN)


def deliver(email: dict[str, Any]) -> None:
    try:
        EmailMessage(**email).send()
    except SMTPServerDisconnected as exc:
        # smtplib reports a silent server as one that hung up, and keeps the socket's own exception,
        # a TimeoutError, as the context. That one says what happened.
        raise (exc.__context__ or exc) from None
