"""The confirmation by mail: at once, after retries, and given up."""

from smtplib import SMTPDataError

from django.core import mail

from django_retrytasks.models import Task
from django_retrytasks.testing import ImmediateBackend
from orders.models import Order, Ticket
from orders.receivers import open_ticket
from orders.tasks import send_email


def test_order_is_confirmed_by_mail(backend: ImmediateBackend, order: Order) -> None:
    result = send_email.enqueue(order.pk)

    [message] = mail.outbox
    order.refresh_from_db()
    assert message.to == ["ann@example.com"]
    assert message.extra_headers == {"Message-ID": f"<{result.id}@shop.example>"}
    assert order.status == "CONFIRMED"


def test_mail_is_sent_again_until_the_server_takes_it(
    backend: ImmediateBackend, order: Order, refusals: list[OSError]
) -> None:
    refusals += [ConnectionRefusedError("nobody listens"), TimeoutError("timed out")]

    result = send_email.enqueue(order.pk)

    task = Task.objects.get(pk=result.id)
    outcomes = [attempt.outcome for attempt in task.attempts.order_by("number")]
    order.refresh_from_db()
    assert outcomes == ["FAILED", "FAILED", "SUCCEEDED"]
    assert len(mail.outbox) == 1
    assert order.status == "CONFIRMED"


def test_fourth_failure_is_the_last(
    backend: ImmediateBackend, order: Order, refusals: list[OSError]
) -> None:
    refusals += [SMTPDataError(451, b"try again later")] * 4

    result = send_email.enqueue(order.pk)

    task = Task.objects.get(pk=result.id)
    order.refresh_from_db()
    assert (task.status, task.stop_reason, task.retry_count) == ("FAILED", "MAX_RETRIES", 3)
    assert order.status == "UNCONFIRMED"
    assert Ticket.objects.get().text.startswith("orders.tasks.send_email failed: (451, ")
    assert [each.alert.subject for each in backend.alerts] == [
        "send_email failed: SMTPDataError (attempt 4)"
    ]


def test_failure_told_twice_opens_one_ticket(
    backend: ImmediateBackend, order: Order, refusals: list[OSError]
) -> None:
    refusals += [TimeoutError("timed out")] * 4
    task = Task.objects.get(pk=send_email.enqueue(order.pk).id)

    open_ticket(Task, task=task, attempt=task.attempts.get(number=4))

    assert Ticket.objects.count() == 1


def test_wait_before_each_retry_is_the_same() -> None:
    assert send_email.policy.schedule() == [(1, 5, 5), (2, 5, 5), (3, 5, 5)]
