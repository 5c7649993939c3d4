"""What a webhook signs is verified by the library of Standard Webhooks."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook as Library
from standardwebhooks import WebhookVerificationError

from django_retrytasks import retry_task
from django_retrytasks.alerts.webhooks import Webhook
from django_retrytasks.checks.settings import check_settings
from tests.support.driver import Driver
from tests.support.http_receiver import Receiver, receiving

SINK = "django_retrytasks.alerts.webhook"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = "a plain text, not base64"


@retry_task(max_retries=0)
def breaks() -> None:
    raise ConnectionError("größe")


def posted(secret: str, content: Any) -> tuple[bytes, dict[str, str]]:
    with receiving() as receiver:
        Webhook(url=receiver.url(), secret=secret).post("an-id", content)
    return receiver.posted[0].body, dict(receiver.posted[0].headers)


class TestASignature:
    @pytest.mark.django_db
    def test_of_an_alert_is_verified(
        self, driver: Driver, settings: Any, receiver: Receiver
    ) -> None:
        settings.RETRYTASKS = {"ALERTS": [{"sink": SINK, "url": receiver.url(), "secret": SECRET}]}
        breaks.enqueue()

        driver.drain()

        [alert] = receiver.posted
        verified = Library(SECRET).verify(alert.body, dict(alert.headers))
        assert verified["subject"] == "breaks failed: ConnectionError (attempt 1)"

    @pytest.mark.parametrize(
        "secret",
        [
            SECRET,
            "whsec_" + base64.b64encode(bytes(range(64))).decode(),
            "whsec_" + base64.b64encode(PLAIN.encode()).decode(),
            "whsec_" + base64.b64encode(b"without its padding").decode().rstrip("="),
        ],
    )
    def test_is_verified_by_the_same_secret_alone(self, secret: str) -> None:
        body, headers = posted(secret, {"text": "größe"})

        assert Library(secret).verify(body, headers) == {"text": "größe"}
        with pytest.raises(WebhookVerificationError):
            Library("whsec_AAAA").verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Library(secret).verify(body + b" ", headers)

    @given(st.text())
    def test_is_made_by_no_secret_that_the_library_cannot_read(self, secret: str) -> None:
        try:
            webhook = Webhook(url="https://shop.example", secret=f"whsec_{secret}")
        except ValueError:
            return
        headers = webhook._headers("an-id", b"{}")
        Library(f"whsec_{secret}").verify(b"{}", headers)


class TestAnotherSecret:
    @pytest.mark.parametrize(
        "secret", [PLAIN, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "WHSEC_MfKQ9r8G", "", 7, b"key"]
    )
    def test_is_refused_where_it_is_used_with_what_makes_one(self, secret: Any) -> None:
        with pytest.raises(ValueError, match=r"^secret must be a text") as caught:
            Webhook(url="https://shop.example", secret=secret)

        [command] = re.findall(r'This makes one: python -c "(.*)"$', str(caught.value))
        made = subprocess.run(
            [sys.executable, "-c", command], capture_output=True, text=True, check=True
        ).stdout.strip()
        body, headers = posted(made, {"is": "signed"})
        assert Library(made).verify(body, headers) == json.loads(body)

    def test_is_an_error_of_the_check_that_shows_none_of_it(self, settings: Any) -> None:
        options = {"sink": SINK, "url": "https://shop.example", "secret": PLAIN}
        settings.RETRYTASKS = {"ALERTS": [options]}

        [error] = check_settings()

        assert error.id == "retrytasks.E010"
        assert error.msg.startswith(
            'RETRYTASKS["ALERTS"][0]: secret must be a text, "whsec_" and a key in base64; '
            "None: not signed. This makes one: python -c "
        )
        assert PLAIN not in str(error)
