"""The ordinary story: three orders, and a mail server that fails in three ways."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import NamedTuple

from django.conf import settings
from django.test import Client
from django.utils import timezone

from django_retrytasks.models import Attempt, Status, Task
from orders.models import Order, Product, Ticket

from .mail import ALWAYS
from .screen import Cells
from .stage import Stage, differences

CUSTOMERS = BROKEN, SLOW, HEALTHY = "ann@example.com", "bob@example.com", "cyd@example.com"
STATUSES = [Order.Status.UNCONFIRMED, Order.Status.CONFIRMED, Order.Status.CONFIRMED]
HEADINGS = ("order of", "attempt", "exception", "retry_count", "next step")
SUMMARY_HEADINGS = ("attempt", "exception", "retry_count when it runs", "next step")
LAST_STEP = "max_retries reached: FAILED, log and alert"


class Record(NamedTuple):
    """An order with its Task and the Task's Attempts."""

    order: Order
    task: Task
    attempts: Sequence[Attempt]


class Outage:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._orders: list[Order] = []

    def happen(self) -> None:
        """Change the mail server after each of the first two attempts, before the next is due."""
        server, wait_for = self._stage.server, self._stage.wait_for
        server.refusals = {BROKEN: ALWAYS, SLOW: 2}
        self._place_order(BROKEN)
        wait_for(lambda: len(self._look()[0].attempts) >= 1)
        server.ignore()
        wait_for(lambda: len(self._look()[0].attempts) >= 2)
        server.answer()
        self._place_order(SLOW)
        self._place_order(HEALTHY)
        wait_for(lambda: bool(self._look()) and self._stage.is_quiet())
        # The log's lines come after the rows.
        wait_for(lambda: not self._faults(self._look()), patience=5)

    def end(self) -> Sequence[str]:
        """Show what has come of it, and return, in words, what was not meant to."""
        screen, records = self._stage.screen, self._look()
        faults, late = self._faults(records), lateness(records, self._stage.countdown)
        screen.say(f"\nThe attempts for the order of {BROKEN}, as the database has them:\n")
        screen.table(SUMMARY_HEADINGS, attempt_lines(records[0]) if records else [])
        if not faults:
            screen.say(
                f"\nThe order is {records[0].order.status}, the log has an error, the support a "
                f"ticket, and {settings.ADMIN_EMAIL} an alert. The other two orders are confirmed. "
                f"Retries started {min(late):.2f} to {max(late):.2f} s late, none early."
            )
        return faults

    def _place_order(self, customer: str) -> None:
        """Order a teapot in the shop, as a customer does."""
        form = {"email": customer, "product": Product.objects.earliest("pk").pk, "quantity": 1}
        page = Client(SERVER_NAME="localhost").post("/", form)["Location"]
        self._orders.append(Order.objects.get(pk=page.strip("/").rpartition("/")[2]))

    def _look(self) -> list[Record]:
        """Show how things stand, and return it."""
        records = [read(order) for order in self._orders]
        past = [(each.order.email, *line) for each in records for line in attempt_lines(each)]
        now = [coming_line(each) for each in records if not each.task.is_finished]
        self._stage.screen.show(HEADINGS, past, now, self._stage.server.news)
        return records

    def _faults(self, records: Sequence[Record]) -> list[str]:
        """Return, in words, what the rows, the letters and the log do not say as it was meant."""
        ids = [str(each.task.pk) for each in records]
        log = self._stage.log.read_text(errors="replace").splitlines()
        errors = [line for line in log if " ERROR " in line and " django_retrytasks " in line]
        recipients = [str(letter["To"]) for letter in self._stage.server.letters]
        late = lateness(records, self._stage.countdown)
        return differences(
            *zip(CUSTOMERS, map(attempt_lines, records), self._meant(), strict=False),
            ("orders", len(records), len(CUSTOMERS)),
            ("retry_count of each Task", [each.task.retry_count for each in records], [3, 2, 0]),
            ("status of each order", [each.order.status for each in records], STATUSES),
            ("tickets", Ticket.objects.filter(task_id__in=ids).count(), 1),
            ("letters to", sorted(recipients), sorted([settings.ADMIN_EMAIL, SLOW, HEALTHY])),
            ("errors logged", [sum(pk in line for line in errors) for pk in ids], [1, 0, 0]),
            ("retries before their time", [seconds for seconds in late if seconds < 0], []),
        )

    def _meant(self) -> list[list[Cells]]:
        """Return the lines of each customer's attempts."""
        retry = f"retry after {self._stage.countdown:g} s"
        broken: list[Cells] = [
            ("1", "ConnectionRefusedError", "0", retry),
            ("2", "TimeoutError", "1", retry),
            ("3", "SMTPDataError", "2", retry),
            ("4", "SMTPDataError", "3", LAST_STEP),
        ]
        slow: list[Cells] = [
            ("1", "SMTPDataError", "0", retry),
            ("2", "SMTPDataError", "1", retry),
            ("3", "", "2", "SUCCEEDED"),
        ]
        return [broken, slow, [("1", "", "0", "SUCCEEDED")]]


def read(order: Order) -> Record:
    # Attempts first: a Task read after them is never behind them.
    attempts = list(Attempt.objects.filter(task__search_key=str(order.pk)).order_by("number"))
    task = Task.objects.get(search_key=str(order.pk))
    order.refresh_from_db()
    return Record(order, task, attempts)


def attempt_lines(record: Record) -> list[Cells]:
    """Return the cells of SUMMARY_HEADINGS for each Attempt."""
    return [
        (
            str(attempt.number),
            attempt.exception_class_path.rpartition(".")[2],
            str(attempt.retry_count),
            next_step(record.task, attempt),
        )
        for attempt in record.attempts
    ]


def next_step(task: Task, attempt: Attempt) -> str:
    """Return what was decided: `decision` is such as "retry 1 of 3 in 5 s"."""
    if attempt.next_run_after:
        return f"retry after {attempt.decision.rpartition(' in ')[2]}"
    return LAST_STEP if task.stop_reason == "MAX_RETRIES" else task.status


def coming_line(record: Record) -> Cells:
    """Return the cells for the attempt that an unfinished Task waits for or makes."""
    task, step = record.task, record.task.get_status_display()
    if task.status != Status.RUNNING and task.run_after:
        seconds = (task.run_after - timezone.now()).total_seconds()
        step += f", starts in {max(0.0, seconds):.1f} s"
    return (record.order.email, str(task.attempt_count + 1), "", str(task.retry_count), step)


def lateness(records: Sequence[Record], countdown: float) -> list[float]:
    """Return, for each retry, the seconds from the moment it was due to its start."""
    wait = timedelta(seconds=countdown)
    return [
        (later.started_at - max(earlier.next_run_after, earlier.finished_at + wait)).total_seconds()
        for record in records
        for earlier, later in pairwise(record.attempts)
        if earlier.next_run_after
    ]
