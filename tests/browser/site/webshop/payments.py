"""What the shop charges."""

import json

from django_retrytasks import retry_task

from . import outage


class GatewayError(Exception):
    """The payment gateway did not do what it was asked."""


@retry_task(max_retries=2, countdown=0.2, backoff=1, jitter=False)
def charge_card(order: str, amount: str) -> str:
    """Charge a customer's card."""
    return request_payment(order, amount)["receipt"]


def request_payment(order: str, amount: str) -> dict[str, str]:
    reply = "<h1>Sorry</h1>" if outage.is_on() else json.dumps({"receipt": f"R-{order}"})
    try:
        answer: dict[str, str] = json.loads(reply)
    except ValueError as error:
        raise GatewayError("payments.example answered 503 Service Unavailable") from error
    return answer | {"amount": amount}
