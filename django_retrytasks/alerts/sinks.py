"""The sinks: what tells a human of an alert."""

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
    """Check an entry of ALERTS, as far as that can be done without sending.

    Raises:
        ImportError: it leads nowhere, or to what needs a library that is not installed.
        TypeError, ValueError: it leads to no callable, or to one that does not take its options.
            The message shows neither a URL nor a secret.
    """
    call = import_string(sink.path)
    bound = inspect.signature(call).bind(None, **sink.options)
    bound.apply_defaults()
    if call in _READERS:
        _READERS[call](**bound.kwargs)


def log(alert: Alert) -> None:
    """Log an alert in English: at ERROR, or INFO when it tells of a recovery."""
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
        url: http or https. It is never shown, for it may hold a secret.
        secret: signs it after the Standard Webhooks specification: "whsec_" and a key in base64;
            None: it is not signed.
        form: "json" posts ``alert.as_dict()``, "text" ``{"text": ...}``, as Slack takes it.
        timeout: for all of it, seconds or timedelta.

    Raises:
        NotDelivered: the receiver was not reached in time, or answered with no 2xx status.
    """
    receiver = _receiver(url=url, secret=secret, form=form, timeout=timeout)
    chat_text = chats.for_slack(f"{alert.subject}\n{alert.summary}")
    receiver.post(alert.id, alert.as_dict() if form == "json" else {"text": chat_text})


def apprise(alert: Alert, *, urls: Sequence[str]) -> None:
    """Send an alert by the library apprise, which knows over a hundred services.

    Args:
        urls: of apprise's own kind. Where one fails, all are sent to again.

    Raises:
        NotDelivered: one of them failed. The logger ``apprise`` says why.
    """
    sent = _services(urls=urls).notify(
        title=chats.quiet(alert.subject),
        body=chats.quiet(alert.summary),
        notify_type="success" if alert.is_recovery else "failure",
        body_format="text",
    )
    if not sent:
        raise NotDelivered("apprise did not deliver to all urls: see the logger apprise for why")


def _recipients(*, to: Sequence[str]) -> Sequence[str]:
    return as_texts("to", to, of="a list of addresses, with one at least", least=1)


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
    given = as_list("urls", urls, least=1)
    # Silenced: it logs a URL that it cannot read as it is.
    its_logger = logging.getLogger("apprise")
    was, its_logger.disabled = its_logger.disabled, True
    try:
        refused = [index for index, url in enumerate(given) if not services.add(url)]
    finally:
        its_logger.disabled = was
    if refused:
        raise ValueError(f"apprise cannot read urls[{refused[0]}]")
    return services


# What reads a sink's options, and raises an error where they are wrong.
_READERS: Mapping[Any, Callable[..., Any]] = {
    mail: _recipients,
    webhook: _receiver,
    apprise: _services,
}
