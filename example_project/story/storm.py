"""The storm: a mail server refuses 500 letters, and the admins get a handful about it."""

import io
import re
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from subprocess import Popen

from django.conf import settings
from django.core.management import call_command
from django.db.models import Count
from orders.tasks import send_email

from django_retrytasks.models import FailureGroup, Status, Task

from .rows import Cells
from .screen import Screen
from .smtp import Letter, Servers
from .stage import Story, order
from .verdict import differences

FAILURES = 500
TOLD_AT_ONCE = (1, 10, 100)
MAX_RETRIES = 1
MOST_LETTERS = 6
SHOWN = (Status.PENDING, Status.RUNNING, Status.RETRYING, Status.FAILED, Status.SUCCEEDED)
HEADINGS = ("arrived", "alert", "failures told", "failures in the rows")
# How every letter about failures says how many.
TOLD = re.compile(r"^Failures: (\d+) since ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A letter to the admins, and what was so when it arrived."""

    letter: Letter
    after: float  # seconds since the storm began
    failed_count: int

    @property
    def told_count(self) -> int:
        """Return how many failures it tells of; 0 if it does not say."""
        found = TOLD.search(self.letter.text)
        return int(found[1]) if found else 0

    @property
    def is_recovery(self) -> bool:
        return "has recovered" in self.letter.subject


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How things stand: the Tasks by status, and the letters to the admins, oldest first."""

    counts: Mapping[str, int]
    alerts: Sequence[Alert]

    @property
    def failed_count(self) -> int:
        return self.counts[Status.FAILED]

    @property
    def told_count(self) -> int:
        """Return how many failures the admins have been told of."""
        return max((alert.told_count for alert in self.alerts), default=0)

    @property
    def failing(self) -> list[Alert]:
        return [alert for alert in self.alerts if not alert.is_recovery]

    @property
    def recovered(self) -> list[Alert]:
        return [alert for alert in self.alerts if alert.is_recovery]


class Storm(Story[Weather]):
    """The letters, the server that refuses them, and what the admins hear of it."""

    def __init__(self, servers: Servers, cluster: Popen[bytes], screen: Screen, log: Path) -> None:
        super().__init__(servers, cluster, screen, log)
        if Task.objects.exists():
            sys.exit("The storm counts every Task of its database: give DATABASE_URL an empty one.")
        self._began = time.monotonic()
        self._sent_count = 0
        self._alerts: list[Alert] = []

    def happen(self) -> None:
        """Have ever more fail until all have been told of; mend the mail server."""
        self.servers.alerts.answer()
        self._say(
            "The mail server of the shop's letters is down; the alerts have one of their own. "
            "The 1st failure is told at once, then the 10th, the 100th, and the rest after a while."
        )
        for total in (*TOLD_AT_ONCE, FAILURES):
            self._fail(total)
        self._wait_for_cooldown()
        self._sweep("it tells what failed since the last alert")
        self.watch(lambda weather: weather.told_count == FAILURES)
        self.servers.shop.answer()
        self._send(1)
        self.watch(lambda weather: weather.counts[Status.SUCCEEDED] == 1)
        self._sweep("it finds quiet and a success, which is a recovery")
        self.watch(lambda weather: bool(weather.recovered))

    def look(self) -> Weather:
        weather = self._weather()
        shown = {str(status.label): weather.counts[status] for status in SHOWN}
        self.screen.tally(shown, [*self.servers.shop.news, *self.servers.alerts.news])
        return weather

    def end(self) -> Sequence[str]:
        weather, groups = self._weather(), list(FailureGroup.objects.all())
        found = list(faults(weather, groups))
        self.screen.say("\nThe letters to the admins, and what the rows said as each arrived:\n")
        self.screen.table(HEADINGS, [alert_line(alert) for alert in weather.alerts])
        self.screen.say("")
        for text in [f"Not as it was meant: {fault}" for fault in found]:
            self.screen.say(text)
        self._say(summary(weather, groups))
        return found

    def _fail(self, total: int) -> None:
        """Have so many failed in all, and told of where that is to be at once."""
        self._send(total - self._sent_count)
        self.watch(lambda weather: weather.failed_count == total)
        if total in TOLD_AT_ONCE:
            self.watch(lambda weather: weather.told_count == total)

    def _send(self, count: int) -> None:
        first, self._sent_count = self._sent_count + 1, self._sent_count + count
        self._say(f"Letters to be sent: {count}.")
        calls = [
            (order(f"Order {number}", f"customer{number}@example.com"),)
            for number in range(first, self._sent_count + 1)
        ]
        send_email.using(max_retries=MAX_RETRIES).enqueue_many(calls)

    def _wait_for_cooldown(self) -> None:
        cooldown = settings.RETRYTASKS["ALERT_COOLDOWN"]
        over = time.monotonic() + cooldown
        self._say(f"All have failed. The next alert is due {cooldown:g} s after the last.")
        self.watch(lambda weather: time.monotonic() > over)

    def _sweep(self, finding: str) -> None:
        self._say(
            "The demo runs `manage.py retrytasks sweep`, as the cluster does every minute: "
            f"{finding}."
        )
        call_command("retrytasks", "sweep", stdout=io.StringIO())

    def _weather(self) -> Weather:
        # Letters first: rows read after them are never behind them.
        letters = self.servers.alerts.received(settings.ADMIN_EMAIL)
        rows = Task.objects.filter(internal=False).values_list("status").annotate(Count("pk"))
        counts = {**dict.fromkeys(SHOWN, 0), **dict(rows)}
        after = time.monotonic() - self._began
        self._alerts += [
            Alert(letter=letter, after=after, failed_count=counts[Status.FAILED])
            for letter in letters[len(self._alerts) :]
        ]
        return Weather(counts=counts, alerts=self._alerts)

    def _say(self, text: str) -> None:
        self.screen.say(textwrap.fill(text, 78))


# ---- the verdict


def faults(weather: Weather, groups: Sequence[FailureGroup]) -> Iterator[str]:
    """Yield, in words, each point in which what happened is not what was meant to happen."""
    told = [alert.told_count for alert in weather.failing]
    yield from differences("FAILED Tasks", weather.failed_count, FAILURES)
    yield from differences("failure groups", [g.failure_count for g in groups], [FAILURES])
    if not 1 <= len(told) <= MOST_LETTERS:
        yield f"letters about the failures: {len(told)}, expected 1 to {MOST_LETTERS}"
    if not all(earlier < later for earlier, later in pairwise([0, *told])):
        yield f"failures told: {told}, expected to rise"
    for alert in weather.alerts:
        if alert.told_count > alert.failed_count:
            yield f"{alert.letter} tells of {alert.told_count} failures of {alert.failed_count}"
    told_at_last = [alert.told_count for alert in weather.recovered]
    yield from differences("failures told by recovered letters", told_at_last, [FAILURES])


# ---- the report


def alert_line(alert: Alert) -> Cells:
    counts = (str(alert.told_count), str(alert.failed_count))
    return (f"{alert.after:.1f} s", alert.letter.subject, *counts)


def summary(weather: Weather, groups: Sequence[FailureGroup]) -> str:
    """Say in one paragraph what the rows and the letters amount to."""
    counts = ", ".join(
        f"failure_count {group.failure_count} after {group.failed_attempt_count} failed attempts"
        for group in groups
    )
    return (
        f"{weather.failed_count} Tasks FAILED, {len(groups)} FailureGroup ({counts}): "
        f"{len(weather.failing)} letters about the failures, "
        f"{len(weather.recovered)} about the recovery."
    )
