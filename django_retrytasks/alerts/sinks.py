"""The sinks: functions that send an alert to people."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from django.core import mail as django_mail
from django.utils.module_loading import import_string
from django.utils.translation import override

from django_retrytasks import conf
from django_retrytasks.values.checked import Duration, as_list, as_texts

from . import chats, mail_filter
from .alert import Alert
from .webhooks import NotDelivered, Webhook

logger = logging.getLogger("django_retrytasks")
FORMS = ("json", "text")


def check(sink: conf.Sink) -> None:
    """Check an entry of ALERTS without sending.

    Raises:
        ImportError: the path leads nowhere, or the sink needs a library that is not installed.
        TypeError, ValueError: the path leads to no callable, or the options do not fit it. The
            message shows neither a URL nor a secret.
    """
    call = import_string(sink.path)
    bound = inspect.signature(call).bind(None, **sink.options)
    bound.apply_defaults()
    if call in _READERS:
        _READERS[call](**bound.kwargs)


def log(alert: Alert) -> None:
    """Log an alert in English, at ERROR, or at INFO for a recovery."""
    level = logging.INFO if alert.is_recovery else logging.ERROR
    with override(None):
        logger.log(level, "Alert: %s", alert.subject)


def mail_admins(alert: Alert) -> None:
    """Mail an alert to ``ADMINS``."""
    mail_filter.warn_of_nobody()
    django_mail.mail_admins(alert.subject, alert.text, html_message=alert.html)


def mail(alert: Alert, *, to: Sequence[str]) -> None:
    """Mail an alert from ``DEFAULT_FROM_EMAIL`` to these addresses."""
    recipients = _recipients(to=to)
    django_mail.send_mail(alert.subject, alert.text, None, recipients, html_message=alert.html)


def webhook(
    alert: Alert,
    *,
    url: str,
    secret: str | None = None,
    form: Literal["json", "text"] = "json",
    timeout: Duration = 10,
) -> None:
    """Post an alert.

    Args:
        url: http or https; never shown, for it may hold a secret.
        secret: "whsec_" and a key in base64, which signs the post after the Standard Webhooks
            specification; None: unsigned.
        form: "json" posts ``alert.as_dict()``, "text" ``{"text": ...}``, as Slack expects.
        timeout: for the whole post, seconds or timedelta.

    Raises:
        NotDelivered: the receiver was not reached in time, or answered without a 2xx status.
    """
    receiver = _receiver(url=url, secret=secret, form=form, timeout=timeout)
    chat_text = chats.for_slack(f"{alert.subject}\n{alert.summary}")
    receiver.post(alert.id, alert.as_dict() if form == "json" else {"text": chat_text})


def apprise(alert: Alert, *, urls: Sequence[str]) -> None:
    """Send an alert through the library apprise to over a hundred services.

    Args:
        urls: in apprise's own format. If one fails, a retry sends to all again.

    Raises:
        NotDelivered: a URL failed. The logger ``apprise`` has the cause.
    """
    sent = _services(urls=urls).notify(
        title=chats.quiet(alert.subject),
        body=chats.quiet(alert.summary),
        notify_type="success" if alert.is_recovery else "failure",
        body_format="text",
    )
    if not sent:
        raise NotDelivered("apprise did not deliver to all urls: the logger apprise has the cause")


def _recipients(*, to: Sequence[str]) -> Sequence[str]:
    return as_texts("to", to, expected="a list of addresses, with one at least", least=1)


def _receiver(*, form: str, **options: Any) -> Webhook:
    if form not in FORMS:
        raise ValueError(f"form must be one of {FORMS}")
    return Webhook(**options)


def _services(*, urls: Sequence[str]) -> Any:
    try:
        from apprise import Apprise
    except ImportError:
        fix = "pip install 'django-retrytasks[apprise]'"
        raise ImportError(f"apprise is not installed: {fix}") from None
    services = Apprise()
    entries = as_list("urls", urls, least=1)
    # Silenced: apprise logs unreadable URLs, secrets included.
    log_of_apprise = logging.getLogger("apprise")
    was_disabled, log_of_apprise.disabled = log_of_apprise.disabled, True
    try:
        refused = [index for index, url in enumerate(entries) if not services.add(url)]
    finally:
        log_of_apprise.disabled = was_disabled
    if refused:
        raise ValueError(f"apprise cannot read urls[{refused[0]}]")
    return services


# Functions that check a sink's options and raise on a wrong value.
_READERS: Mapping[Any, Callable[..., Any]] = {
    mail: _recipients,
    webhook: _receiver,
    apprise: _services,
}
