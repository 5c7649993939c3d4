"""The storm: a mail server refuses 500 letters to customers, and the admins get a handful."""

import io
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from django.conf import settings
from django.core.management import call_command
from django.db import transaction
from django.db.models import Count

from django_retrytasks.models import FailureGroup, Status, Task
from orders.models import Order, Product, Ticket
from orders.tasks import send_email

from .mail import ALWAYS
from .screen import Cells
from .stage import Fact, Stage, differences

FAILURES = 500
TOLD_AT_ONCE = (1, 10, 100)
STATUSES = (Status.PENDING, Status.RUNNING, Status.RETRYING, Status.FAILED, Status.SUCCEEDED)
HEADINGS = ("arrived", "alert", "failures told", "failures in the rows")


class Alert(NamedTuple):
    """A letter to the admins, and what was so when it arrived."""

    after: float  # seconds since the storm began
    subject: str
    failed_count: int

    @property
    def told_count(self) -> int:
        """Return how many failures the subject tells of; the first letter gives no number."""
        number = re.search(r"(\d+) failures", self.subject)
        return int(number[1]) if number else 1

    @property
    def is_recovery(self) -> bool:
        return "has recovered" in self.subject


class Storm:
    def __init__(self, stage: Stage) -> None:
        if Task.objects.exists():
            sys.exit("The storm counts every Task of its database: give DATABASE_URL an empty one.")
        self._stage = stage
        self._customers = [f"customer{number}@example.com" for number in range(1, FAILURES + 2)]
        self._cooldown = settings.RETRYTASKS["ALERT_COOLDOWN"]
        self._enqueued_count = 0
        self._alerts: list[Alert] = []

    def happen(self) -> None:
        """Have ever more Tasks fail until all have been told of; mend the mail server."""
        self._stage.server.refusals = dict.fromkeys(self._customers, ALWAYS)
        self._stage.server.answer()
        self._stage.screen.say(
            "The mail server refuses letters to customers, and takes those to the admins. The 1st "
            "failure is told at once, then the 10th, the 100th, and the rest after a while."
        )
        for total in TOLD_AT_ONCE:
            self._have_failed(total)
            self._wait_until_told(total)
        self._have_failed(FAILURES)
        self._wait_for_cooldown()
        self._sweep("it tells what failed since the last alert")
        self._wait_until_told(FAILURES)
        self._stage.server.refusals = {}
        self._stage.screen.say("The mail server takes all letters.")
        self._enqueue(1)
        self._wait(lambda counts: counts[Status.SUCCEEDED] == 1)
        self._sweep("it finds quiet and a success, which is a recovery")
        self._wait(lambda counts: self._alerts[-1].is_recovery and self._stage.is_quiet())

    def end(self) -> Sequence[str]:
        """Show what has come of it, and return, in words, what was not meant to."""
        failed_count, groups = self._look()[Status.FAILED], list(FailureGroup.objects.all())
        counts, screen = [group.failure_count for group in groups], self._stage.screen
        screen.say("\nThe letters to the admins, and the rows as each arrived:\n")
        screen.table(HEADINGS, map(alert_line, self._alerts))
        screen.say(
            f"\n{failed_count} Tasks FAILED, {len(groups)} FailureGroup "
            f"(failure_count {', '.join(map(str, counts))}), "
            f"{len(self._alerts)} letters to the admins."
        )
        unconfirmed = Order.objects.filter(status=Order.Status.UNCONFIRMED)
        return differences(
            ("FAILED Tasks", failed_count, FAILURES),
            ("failures of each group", counts, [FAILURES]),
            ("unconfirmed orders", unconfirmed.count(), FAILURES),
            ("tickets", Ticket.objects.count(), FAILURES),
            *self._letter_facts(),
        )

    def _letter_facts(self) -> Iterator[Fact]:
        told = [alert.told_count for alert in self._alerts if not alert.is_recovery]
        recovered = [alert.told_count for alert in self._alerts if alert.is_recovery]
        allowed = len(TOLD_AT_ONCE) + int(self._stage.screen.seconds / self._cooldown)
        early = [alert.subject for alert in self._alerts if alert.told_count > alert.failed_count]
        yield "failures told", told, sorted({*told, *TOLD_AT_ONCE, FAILURES})
        yield "failures told within a cooldown", told[allowed:], []
        yield "failures told with the recovery", recovered, [FAILURES]
        yield "letters ahead of the rows", early, []

    def _have_failed(self, total: int) -> None:
        self._enqueue(total - self._enqueued_count)
        self._wait(lambda counts: counts[Status.FAILED] == total)

    def _enqueue(self, count: int) -> None:
        """Have the orders of so many more customers confirmed, with one retry each."""
        self._stage.screen.say(f"Letters to be sent: {count}.")
        product = Product.objects.earliest("pk")
        customers = self._customers[self._enqueued_count :][:count]
        orders = [Order(product=product, email=customer) for customer in customers]
        with transaction.atomic():
            Order.objects.bulk_create(orders)
            send_email.using(max_retries=1).enqueue_many([(order.pk,) for order in orders])
        self._enqueued_count += count

    def _wait_until_told(self, count: int) -> None:
        self._wait(lambda counts: any(alert.told_count == count for alert in self._alerts))

    def _wait_for_cooldown(self) -> None:
        over = time.monotonic() + self._cooldown
        self._stage.screen.say(f"The next alert is due {self._cooldown:g} s after the last.")
        self._wait(lambda counts: time.monotonic() > over)

    def _sweep(self, finding: str) -> None:
        self._stage.screen.say(
            f"The demo runs `manage.py retrytasks sweep`, as the cluster each minute: {finding}."
        )
        call_command("retrytasks", "sweep", stdout=io.StringIO())

    def _wait(self, condition: Callable[[dict[str, int]], bool]) -> None:
        self._stage.wait_for(lambda: condition(self._look()))

    def _look(self) -> dict[str, int]:
        """Show how things stand, and return how many Tasks have each status."""
        # Letters first: rows read after them are never behind them.
        letters = self._stage.server.received(settings.ADMIN_EMAIL)
        rows = Task.objects.filter(internal=False).values_list("status").annotate(Count("pk"))
        counts = {**dict.fromkeys(STATUSES, 0), **dict(rows)}
        after, failed = self._stage.screen.seconds, counts[Status.FAILED]
        self._alerts += [Alert(after, each, failed) for each in letters[len(self._alerts) :]]
        now = [(str(status.label), str(counts[status])) for status in STATUSES]
        news = [f"the admins receive {alert.subject!r}" for alert in self._alerts]
        self._stage.screen.show(("status", "Tasks"), [], now, news)
        return counts


def alert_line(alert: Alert) -> Cells:
    counts = (str(alert.told_count), str(alert.failed_count))
    return (f"{alert.after:.1f} s", alert.subject, *counts)
