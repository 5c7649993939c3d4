"""A Sentry that keeps what it is sent, and a task whose secrets it must not be sent."""

from __future__ import annotations

import json
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.transport import Transport

from django_retrytasks import retry_task

SECRET = "correct horse battery staple"
LOCAL = "a local variable's value"


@retry_task(max_retries=0, sensitive=("card",))
def pays(card: Any, password: str = "", amount: int = 0, note: Any = None) -> None:
    spelled_backwards = LOCAL[::-1]
    assert spelled_backwards != LOCAL
    raise OSError(card, f"refused: {card=} {password=}")


class Sent(Transport):
    """Keeps what would go to Sentry, or raises what it is told to."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Envelope] = []
        self.trouble: BaseException | None = None

    def capture_envelope(self, envelope: Envelope) -> None:
        if self.trouble:
            raise self.trouble
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [dict(event) for one in self.envelopes if (event := one.get_event())]

    @property
    def text(self) -> str:
        """Return all that was sent, with no character escaped."""
        return json.dumps(self.events, ensure_ascii=False)


def initialised(**options: Any) -> Sent:
    sent = Sent()
    # The other integrations change Django for good: the cluster's process has them.
    own: dict[str, Any] = {"default_integrations": False, "integrations": [LoggingIntegration()]}
    sentry_sdk.init("http://key@127.0.0.1:9/1", transport=sent, **(own | options))
    return sent


def exceptions(sentry: Sent) -> list[dict[str, Any]]:
    """Return the exceptions of the one event, the first one first."""
    [event] = sentry.events
    found: list[dict[str, Any]] = event["exception"]["values"]
    return found


def refuses(**details: Any) -> None:
    raise PermissionError("not for us")
