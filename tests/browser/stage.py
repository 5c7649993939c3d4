"""A web shop in the afternoon: orders all day, a payment gateway that has been down for an hour."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.db.models import F, Value
from django.db.models.functions import Replace
from django.utils import timezone
from webshop import mail, outage, payments, stock

import django_retrytasks
from django_retrytasks import lifecycle
from django_retrytasks.lifecycle import breakers, groups, pauses, workers
from django_retrytasks.lifecycle.periodic import switch_off
from django_retrytasks.models import (
    Attempt,
    FailureGroup,
    OpenBreaker,
    Operation,
    Pause,
    PeriodicTask,
    Task,
    Worker,
)
from django_retrytasks.operators import operations
from django_retrytasks.tasks.periodic import sync
from tests.support.driver import Driver

from .settings import SITE

PASSWORD = "the lamp is on the left"
# Where the shop would be installed, for pictures.
INSTALLED = {
    str(SITE): "/srv/shop",
    str(Path(django_retrytasks.__file__).parent): "/srv/venv/site-packages/django_retrytasks",
}
MOMENTS = {
    Task: ("queued_at", "enqueued_at", "started_at", "last_attempted_at", "claimed_at"),
    Attempt: ("queued_at", "started_at", "finished_at", "next_run_after"),
    FailureGroup: ("first_seen_at", "last_seen_at", "last_failed_at", "streak_started_at"),
}
# The workers of its machines, each with its cluster; the last one has ended.
WORKERS = {
    "app-1:1184:Process-2": "retrytasks-tests",
    "app-1:1185:Process-3": "retrytasks-tests",
    "app-1:1179:Process-1": "retrytasks-tests",
}
# Orders in each hour of a day, the last of them an hour ago; on a quiet day enough to look at.
BUSY_DAY = (6, 4, 2, 1, 1, 2, 5, 9, 14, 19, 22, 24, 21, 26, 30, 28, 24, 19, 22, 27, 31, 25, 18)
QUIET_DAY = (0, 1, 0, 0, 2, 0, 0, 1, 0, 8)


def operator(name: str, *permissions: str) -> User:
    """Return a member of staff with these permissions, no others; with all of ours if none."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    ours = Permission.objects.filter(content_type__app_label="retrytasks")
    given = ours.filter(codename__in=permissions) if permissions else ours
    assert len(given) == len(permissions) or not permissions, permissions
    user.user_permissions.set(given)
    return user


@dataclass
class Stage:
    """Rows as a site has them: in every status, moved to when they would have been.

    ``outage`` is the file that says that the shop's partners are down.
    """

    outage: Path
    driver: Driver = field(default_factory=Driver)
    tasks: dict[str, Task] = field(default_factory=dict)

    def __post_init__(self) -> None:
        os.environ[outage.VARIABLE] = str(self.outage)

    def fill(self, orders: Sequence[int], failed: int) -> None:
        """Set up an afternoon.

        Args:
            orders: how many in each of the last hours.
            failed: payments, in the last hour.
        """
        self._receipts(orders)
        self._failures(failed)
        self._rest()
        self._pause_and_operations()
        self._periodic()
        self._hide_this_machine()
        self._workers()

    def fail_payments(self, count: int) -> list[Task]:
        """Have so many payments fail for good, and the sweep announce it."""
        self.outage.touch()
        calls = [(f"2026-{1800 + n}", f"{19 + 7 * n % 90}.90 EUR") for n in range(count)]
        results = payments.charge_card.enqueue_many(calls)
        self.driver.drain()
        self.outage.unlink()
        return [self.driver.row(result) for result in results]

    def _receipts(self, orders: Sequence[int]) -> None:
        calls = [(f"2026-{1000 + n}", f"customer{n}@shop.example") for n in range(sum(orders))]
        results = mail.send_receipt.enqueue_many(calls)
        self.driver.drain()
        rest = iter(results)
        for back, count in zip(range(len(orders), 0, -1), orders, strict=True):
            ids = [uuid.UUID(next(rest).id) for _ in range(count)]
            _move(Task.objects.filter(pk__in=ids), timedelta(hours=back))
            retried = ids[: count // 8]
            Task.objects.filter(pk__in=retried).update(attempt_count=2)
        self.tasks["succeeded"] = self.driver.row(results[-1])

    def _failures(self, count: int) -> None:
        failed = self.fail_payments(count)
        for n, task in enumerate(failed):
            _move(Task.objects.filter(pk=task.pk), timedelta(minutes=52 - 50 * n / count))
        _move(FailureGroup.objects.all(), timedelta(minutes=2))
        start = timezone.now() - timedelta(minutes=52)
        FailureGroup.objects.update(
            first_seen_at=start, streak_started_at=start, alerted_at=start, alerted_count=10
        )
        self.tasks["failed"] = self.driver.row(failed[-1])
        self.outage.touch()
        prices = stock.import_prices.enqueue("Oak & Daughters")
        self.driver.drain()
        _move(Task.objects.filter(pk=prices.id), timedelta(minutes=31))
        quiet = FailureGroup.objects.filter(name__endswith="import_prices")
        _move(quiet, timedelta(minutes=31))
        groups.resolve([quiet.get().pk])

    def _rest(self) -> None:
        discarded = stock.import_prices.enqueue("Lamps & Son")
        late = mail.send_receipt.using(expires=timezone.now() - timedelta(minutes=5))
        late.enqueue("2026-1854", "noor@shop.example")
        self.driver.drain()
        retrying = mail.send_receipt.enqueue("2026-1851", "ines@shop.example")
        for _ in range(2):
            self.driver.attempt(retrying)
        self.outage.unlink()
        running = payments.charge_card.enqueue("2026-1852", "249.00 EUR")
        lifecycle.claim_inline([uuid.UUID(running.id)], worker="app-2:1207:Process-1")
        progress = {"current": 37, "total": 100, "text": "asks the bank for the 3-D Secure code"}
        Task.objects.filter(pk=running.id).update(progress=progress)
        reminder = timezone.now() + timedelta(hours=3)
        pending = mail.send_receipt.using(run_after=reminder).enqueue(
            "2026-1853", "li@shop.example"
        )
        cancelled = payments.charge_card.enqueue("2026-1855", "12.50 EUR")
        lifecycle.claim_inline([uuid.UUID(cancelled.id)], worker="app-2:1207:Process-1")
        report = {"current": 1204, "total": None, "text": ""}
        Task.objects.filter(pk=cancelled.id).update(progress=report)
        lifecycle.cancel([uuid.UUID(cancelled.id)], by="ada", reason="a double order")
        rows = {
            "discarded": discarded,
            "cancelled": cancelled,
            "retrying": retrying,
            "running": running,
            "pending": pending,
        }
        self.tasks |= {name: self.driver.row(result) for name, result in rows.items()}

    def _pause_and_operations(self) -> None:
        pauses.pause(queue_name="suppliers", by="ada", reason="price lists are being repaired")
        breakers.open_breaker(
            "webshop.suppliers.order", probe_every=30, reason="12 failures in a row"
        )
        selection = {"failure_group": str(self.group.pk)}
        began = operations.start(
            "REDRIVE", selection, by="ada", reason="gateway is back", canary=10, per_minute=60
        )
        Operation.objects.filter(pk=began.pk).update(done_count=F("canary"))
        mails = {"status": "RETRYING"}
        stopped = operations.start("SNOOZE", mails, by="ada", reason="no mail", countdown=600)
        operations.stop(stopped.pk, "by ada: the mail server is back")

    def _periodic(self) -> None:
        sync()
        oak = PeriodicTask.objects.get(name="weekday prices")
        failed = Task.objects.filter(name=oak.task_name, status="FAILED").get()
        PeriodicTask.objects.filter(pk=oak.pk).update(
            last_task=failed, last_run_at=timezone.now() - timedelta(minutes=31)
        )
        lamps = PeriodicTask.objects.get(name="lamp prices")
        switch_off(lamps.pk, by="ada", reason="the supplier moves its server")

    def _hide_this_machine(self) -> None:
        for found, shown in INSTALLED.items():
            changed = Replace("traceback", Value(found), Value(shown))
            Attempt.objects.update(traceback=changed)
        Attempt.objects.update(worker="app-1:1184:Process-2")
        Task.objects.exclude(worker="").update(worker="app-1:1184:Process-2")

    def _workers(self) -> None:
        self.tasks["running"].refresh_from_db()
        for name, cluster in WORKERS.items():
            workers.note(name, cluster, age=5 * 3600, idle=4)
        gone = Worker.objects.filter(name=next(reversed(WORKERS)))
        gone.update(seen_at=_earlier("seen_at", timedelta(minutes=3)))

    @property
    def group(self) -> FailureGroup:
        """Return the group of the payments that fail."""
        return FailureGroup.objects.get(name__endswith="charge_card")

    def pages(self) -> dict[str, str]:
        """Return the address of each page of ours that a link or a button leads to."""
        tasks, root = self.tasks, "/admin/retrytasks"
        filtered = urlencode({"status": "FAILED", "failure_group": self.group.pk, "chart": "hour"})
        resolved = FailureGroup.objects.get(status="RESOLVED").pk
        quiet = FailureGroup.objects.get(failure_count=0).pk
        running = Operation.objects.get(status="RUNNING").pk
        stopped = Operation.objects.get(status="STOPPED").pk
        paused, opened = Pause.objects.get().pk, OpenBreaker.objects.get().pk
        on = PeriodicTask.objects.in_force().get().pk
        off = PeriodicTask.objects.exclude(pk=on).get().pk
        failed, group = tasks["failed"].pk, self.group.pk
        waiting = tasks["pending"].pk
        worker = quote(tasks["running"].worker)
        return {
            "Tasks": f"{root}/task/",
            "Tasks, filtered": f"{root}/task/?{filtered}",
            "Tasks, none found": f"{root}/task/?q=nothing.begins.so",
            **{f"Task {state}": f"{root}/task/{t.pk}/change/" for state, t in tasks.items()},
            "Task, history": f"{root}/task/{failed}/history/",
            "one: re-drive": f"{root}/task/{failed}/do/redrive/",
            "one: discard": f"{root}/task/{failed}/do/discard/",
            "one: run now": f"{root}/task/{waiting}/do/run_now/",
            "one: snooze": f"{root}/task/{waiting}/do/snooze/",
            "one: cancel": f"{root}/task/{waiting}/do/cancel/",
            "all: re-drive": f"{root}/task/all/redrive/?failure_group={group}",
            "all: snooze": f"{root}/task/all/snooze/",
            "all: none": f"{root}/task/all/run_now/?status=DISCARDED",
            "groups": f"{root}/failuregroup/",
            "group open": f"{root}/failuregroup/{group}/change/",
            "group resolved": f"{root}/failuregroup/{resolved}/change/",
            "group without a final failure": f"{root}/failuregroup/{quiet}/change/",
            "group, history": f"{root}/failuregroup/{group}/history/",
            "operations": f"{root}/operation/",
            "operation running": f"{root}/operation/{running}/change/?still",
            "operation stopped": f"{root}/operation/{stopped}/change/",
            "operation, history": f"{root}/operation/{stopped}/history/",
            "pauses": f"{root}/pause/",
            "pause, add": f"{root}/pause/add/",
            "pause": f"{root}/pause/{paused}/change/",
            "breakers": f"{root}/openbreaker/",
            "breaker, add": f"{root}/openbreaker/add/",
            "breaker": f"{root}/openbreaker/{opened}/change/",
            "breaker, history": f"{root}/openbreaker/{opened}/history/",
            "pause, history": f"{root}/pause/{paused}/history/",
            "workers": f"{root}/worker/",
            "worker": f"{root}/worker/{worker}/change/",
            "worker, history": f"{root}/worker/{worker}/history/",
            "periodic": f"{root}/periodictask/",
            "periodic on": f"{root}/periodictask/{on}/change/",
            "periodic off": f"{root}/periodictask/{off}/change/",
            "periodic, history": f"{root}/periodictask/{off}/history/",
            "app": f"{root}/",
        }


def _move(rows: Any, back: timedelta) -> None:
    """Have rows be as they are, so much earlier; a Task's attempts with it."""
    model = rows.model
    pks = list(rows.values_list("pk", flat=True))
    moved: dict[str, Any] = {name: _earlier(name, back) for name in MOMENTS[model]}
    model.objects.filter(pk__in=pks).update(**moved)
    if model is Task:
        finished = Task.objects.filter(pk__in=pks, finished_at__isnull=False)
        finished.update(finished_at=_earlier("finished_at", back))
        attempts = {name: _earlier(name, back) for name in MOMENTS[Attempt]}
        Attempt.objects.filter(task__in=pks).update(**attempts)


def _earlier(name: str, back: timedelta) -> Any:
    return F(name) - back
