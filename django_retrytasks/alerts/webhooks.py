"""Posting JSON to a URL that may itself be a secret, signed after Standard Webhooks."""

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

# A URL as it is sent has no spaces, and everything but ASCII in it is percent-encoded.
SENT = re.compile(r"[!-~]+")
# What a secret of Standard Webhooks begins with; its key follows in base64, as this makes one.
KEY_PREFIX = "whsec_"
COMMAND = (
    "python -c \"import base64, os; print('whsec_' + base64.b64encode(os.urandom(32)).decode())\""
)


class NotDelivered(Exception):
    """Raised when a receiver did not take what was sent, which is then to be sent again.

    Names the receiver's host only: the rest of its address may be a secret.

    Attributes:
        retry_after: what the receiver asks to wait, as its Retry-After header has it; or None.
    """

    def __init__(self, problem: str, retry_after: str | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


def as_target(name: str, value: Any) -> str:
    """Return a URL to post to; the ValueError for all else does not show it."""
    parts = checked.http_parts(value)
    if parts and SENT.fullmatch(value) and "@" not in parts.netloc:
        return str(value)
    raise ValueError(
        f"{name} must be an http or https URL, percent-encoded and without a user name"
    )


def as_secret(name: str, value: Any) -> str:
    """Return a text that holds a key; the ValueError for all else does not show it."""
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
        secret: the key that signs, in base64 after "whsec_"; None: unsigned.
        timeout: for a whole post, seconds or timedelta; kept as float seconds.

    Raises:
        TypeError, ValueError: one of them is wrong. The message shows neither URL nor secret.
    """

    url: str = checked.option(as_target, repr=False)
    secret: str | None = checked.option(checked.or_none(as_secret), None, repr=False)
    timeout: float = checked.option(checked.as_positive_seconds, 10.0)

    def __post_init__(self) -> None:
        checked.check_options(self)

    def post(self, id: str, content: Any) -> None:
        """Post ``content`` as JSON: by the proxies of the environment, following no redirect.

        Args:
            id: the same however often it is posted.

        Raises:
            NotDelivered: the receiver was not reached in time, or answered with no 2xx status.
        """
        body, seconds = json.dumps(content).encode(), self.timeout
        request = Request(self.url, body, self._headers(id, body))  # noqa: S310, it is checked
        host = urlsplit(self.url).hostname
        try:
            status, retry_after = _within(seconds, partial(_answer, request, seconds))
        except (OSError, HTTPException, ValueError) as error:
            # Not chained: some of these quote the URL.
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
    """Return the key of a signature; b"" if the secret holds none."""
    if not (isinstance(secret, str) and secret.startswith(KEY_PREFIX)):
        return b""
    key = secret.removeprefix(KEY_PREFIX)
    with suppress(ValueError):
        # Some write base64 without its padding.
        return b64decode(key + "=" * (-len(key) % 4), validate=True)
    return b""


def _answer(request: Request, seconds: float) -> tuple[int, str | None]:
    """Return the status and the Retry-After header of the answer, whose body is not read."""
    opener = OpenerDirector()
    # Neither the handler of redirects nor that of errors: whatever the status, it is the answer.
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    with opener.open(request, timeout=seconds) as response:
        return response.status, response.headers.get("Retry-After")


def _within(seconds: float, call: Callable[[], Any]) -> Any:
    """Return what ``call`` returns, or raise TimeoutError and leave it to itself.

    urllib's own timeout is for each read, and looking up a host's name has none.
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
    """Return why it failed, in the system's words or as a class's name."""
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        error = error.reason
    return getattr(error, "strerror", None) or type(error).__name__
