"""Post JSON, signed after Standard Webhooks, to a URL that may itself be a secret."""

from __future__ import annotations

import hmac
import json
import re
import time
from base64 import b64decode, b64encode
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException
from threading import Thread
from typing import Any
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from django_retrytasks.values import checked

# A URL ready to send: no spaces, non-ASCII characters percent-encoded.
SENT = re.compile(r"[!-~]+")
# Secrets of Standard Webhooks are this prefix and a key in base64; COMMAND makes one.
KEY_PREFIX = "whsec_"
COMMAND = (
    "python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
)


class NotDelivered(Exception):
    """Raised when a receiver did not accept an alert, so that sending is retried.

    The message names only the receiver's host: the rest of its URL may be a secret.

    Attributes:
        retry_after: the receiver's Retry-After header, or None.
    """

    def __init__(self, problem: str, retry_after: str | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def as_target(name: str, value: Any) -> str:
    """Return a URL to post to; raise a ValueError without the value for anything else."""
    parts = checked.http_parts(value)
    if parts and SENT.fullmatch(value) and "@" not in parts.netloc:
        return str(value)
    raise ValueError(
        f"{name} must be an http or https URL, percent-encoded and without a user name"
    )


def as_secret(name: str, value: Any) -> str:
    """Return a valid secret; raise a ValueError without the value for anything else."""
    if not _key(value):
        raise ValueError(
            f'{name} must be a text, "whsec_" and a key in base64; None: not signed. '
            f"This makes one: {COMMAND}"
        )
    secret: str = value
    return secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A receiver of posts.

    Attributes:
        url: http or https.
        secret: "whsec_" and the signing key in base64; None: unsigned.
        timeout: for a whole post, seconds or timedelta; kept as float seconds.

    Raises:
        TypeError, ValueError: an attribute is wrong. The message shows neither URL nor secret.
    """

    url: str = checked.option(as_target, repr=False)
    secret: str | None = checked.option(checked.or_none(as_secret), None, repr=False)
    timeout: float = checked.option(checked.as_positive_seconds, 10.0)

    def __post_init__(self) -> None:
        checked.check_options(self)

    def post(self, id: str, content: Any) -> None:
        """Post ``content`` as JSON, through the environment's proxies, without following redirects.

        Args:
            id: the same for each repetition.

        Raises:
            NotDelivered: the receiver was not reached in time, or answered without a 2xx status.
        """
        body, seconds = json.dumps(content).encode(), self.timeout
        request = Request(self.url, body, self._headers(id, body))  # noqa: S310, it is checked
        host = urlsplit(self.url).hostname
        try:
            status, retry_after = _within(seconds, partial(_answer, request, seconds))
        except (OSError, HTTPException, ValueError) as error:
            # Not chained: some of these errors quote the URL.
            raise NotDelivered(f"{host} was not reached: {_cause(error)}") from None
        if not 200 <= status < 300:
            raise NotDelivered(f"{host} answered with status {status}", retry_after)

    def _headers(self, id: str, body: bytes) -> dict[str, str]:
        moment = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "django-retrytasks",
            "webhook-id": id,
            "webhook-timestamp": moment,
        }
        if self.secret is not None:
            signed = hmac.digest(_key(self.secret), f"{id}.{moment}.".encode() + body, "sha256")
            headers["webhook-signature"] = "v1," + b64encode(signed).decode()
        return headers


def _key(secret: Any) -> bytes:
    """Return the signing key in a secret; b"" if there is none."""
    if not (isinstance(secret, str) and secret.startswith(KEY_PREFIX)):
        return b""
    key = secret.removeprefix(KEY_PREFIX)
    with suppress(ValueError):
        # Some senders omit the padding.
        return b64decode(key + "=" * (-len(key) % 4), validate=True)
    return b""


def _answer(request: Request, seconds: float) -> tuple[int, str | None]:
    """Return the response's status and Retry-After header; leave its body unread."""
    opener = OpenerDirector()
    # No handlers for redirects and errors: every status is a response.
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    with opener.open(request, timeout=seconds) as response:
        return response.status, response.headers.get("Retry-After")


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return the result of ``call``; after ``seconds`` raise TimeoutError and abandon the call.

    urllib's own timeout applies to each read, and not to the DNS lookup.
    """
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except Exception as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(seconds)


def _cause(error: Exception) -> str:
    """Return the system's error message, or the error's class name."""
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return getattr(error, "strerror", None) or type(error).__name__
