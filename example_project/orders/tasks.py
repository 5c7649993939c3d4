"""The shop's background work."""

from uuid import UUID

from django.core.mail import EmailMessage

from django_retrytasks import RetryTaskContext, retry_task
from django_retrytasks.models import Attempt, Task

from .models import Order


def mark_unconfirmed(task: Task, attempt: Attempt) -> None:
    """Leave the order to people, once no retry follows."""
    Order.objects.filter(pk=task.search_key).update(status=Order.Status.UNCONFIRMED)


@retry_task(
    bind=True,
    max_retries=3,
    backoff=1,  # the same wait before each retry
    jitter=False,
    search_key="order_id",  # the admin finds the Task by its order
    on_failure=mark_unconfirmed,
)
def send_email(self: RetryTaskContext, order_id: UUID) -> None:
    """Confirm an order by mail."""
    order = Order.objects.get(pk=order_id)
    message = EmailMessage(
        subject=f"Your order of {order.product}",
        body=f"Thank you for your order: {order.quantity} x {order.product}.",
        to=[order.email],
        # A worker that dies after the mail sends it again. By this id the two are one.
        headers={"Message-ID": f"<{self.idempotency_key}@shop.example>"},
    )
    try:
        message.send()
    except OSError as exc:  # each exception of smtplib is one
        raise self.retry(exc=exc)
    Order.objects.filter(pk=order_id).update(status=Order.Status.CONFIRMED)
