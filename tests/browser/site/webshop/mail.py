"""What the shop writes to its customers."""

from smtplib import SMTPServerDisconnected

from django_retrytasks import retry_task

from . import outage


@retry_task(max_retries=5, countdown=60, backoff=2, max_countdown=3600)
def send_receipt(order: str, email: str) -> None:
    """Send a customer the receipt of an order."""
    deliver(f"Your order {order}", email)


def deliver(subject: str, email: str) -> None:
    if outage.is_on():
        raise SMTPServerDisconnected("Connection unexpectedly closed")
