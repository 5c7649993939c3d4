"""The confirmation by mail: at once, after retries, and given up."""

from smtplib import SMTPDataError

from django.core import mail

from django_retrytasks.models import Task
from django_retrytasks.testing import (
    advance,
    assert_alerted,
    assert_attempts,
    drain,
    failing,
    step,
)
from orders.models import Order, Ticket
from orders.receivers import open_ticket
from orders.tasks import send_email


def test_order_is_confirmed_by_mail(order: Order) -> None:
    result = send_email.enqueue(order.pk)

    drain()

    [message] = mail.outbox
    order.refresh_from_db()
    assert message.to == ["ann@example.com"]
    assert message.extra_headers == {"Message-ID": f"<{result.id}@shop.example>"}
    assert order.status == "CONFIRMED"


def test_mail_is_sent_again_until_the_server_takes_it(
    order: Order, refusals: list[OSError]
) -> None:
    refusals += [ConnectionRefusedError("nobody listens"), TimeoutError("timed out")]
    result = send_email.enqueue(order.pk)

    drain(until=result)

    order.refresh_from_db()
    assert_attempts(result, ["FAILED", "FAILED", "SUCCEEDED"], countdowns=[5, 5])
    assert len(mail.outbox) == 1
    assert order.status == "CONFIRMED"


def test_order_stays_placed_until_the_mail_is_sent(order: Order) -> None:
    send_email.enqueue(order.pk)

    with failing(send_email, times=1, exc=TimeoutError):
        step()
    order.refresh_from_db()
    assert order.status == "PLACED"
    assert 4 < advance() <= 5
    step()

    order.refresh_from_db()
    assert order.status == "CONFIRMED"


def test_fourth_failure_is_the_last(order: Order, refusals: list[OSError]) -> None:
    refusals += [SMTPDataError(451, b"try again later")] * 4
    result = send_email.enqueue(order.pk)

    drain(until=result)

    task = Task.objects.get(pk=result.id)
    [alert] = assert_alerted(result)
    order.refresh_from_db()
    assert_attempts(result, ["FAILED"] * 4)
    assert (task.status, task.stop_reason, task.retry_count) == ("FAILED", "MAX_RETRIES", 3)
    assert order.status == "UNCONFIRMED"
    assert Ticket.objects.get().text.startswith("orders.tasks.send_email failed: (451, ")
    assert alert.subject == "send_email failed: SMTPDataError (attempt 4)"


def test_failure_told_twice_opens_one_ticket(order: Order) -> None:
    result = send_email.enqueue(order.pk)
    with failing(send_email, times=None):
        drain(until=result)
    task = Task.objects.get(pk=result.id)

    open_ticket(Task, task=task, attempt=task.attempts.get(number=4))

    assert Ticket.objects.count() == 1


def test_wait_before_each_retry_is_the_same() -> None:
    assert send_email.policy.schedule() == [(1, 5, 5), (2, 5, 5), (3, 5, 5)]
