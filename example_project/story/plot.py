"""What happens: three messages, and a mail server that fails in three ways."""

import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

from django.conf import settings
from django.utils import timezone
from orders.tasks import send_email

from . import site
from .report import show
from .rows import Record, read
from .screen import LiveScreen, PlainScreen, Screen
from .smtp import MailServer
from .verdict import Evidence, faults

PATIENCE = 60.0  # seconds that a step of the story may take
TICK = 0.05  # seconds between two looks at the rows: well below the shortest countdown


class Stalled(Exception):
    """The story does not go on: the cluster has ended, or a step takes too long."""


def tell(server: MailServer, home: Path, *, plain: bool, keep: bool) -> int:
    """Run the story and return the exit code: 0 if the rows tell it as it was meant."""
    screen = new_screen(plain=plain)
    log = home / "cluster.log"
    with site.cluster(log) as cluster:
        story = Story(server, cluster, screen)
        with screen.live(), suppress(Stalled):
            story.happen()
        evidence = Evidence(
            records=story.records(), letters=server.letters, log=log.read_text(errors="replace")
        )
        differences = faults(evidence)
        show(evidence, differences, screen)
        if differences:
            screen.say(f"The cluster's log is {log}.")
        if keep:
            stay(screen, home / "site.log")
    return 1 if differences else 0


def new_screen(*, plain: bool) -> Screen:
    kind = LiveScreen if sys.stdout.isatty() and not plain else PlainScreen
    return kind(timezone.now())


def stay(screen: Screen, log: Path) -> None:
    name, password = site.new_login()
    with site.admin(log) as address, suppress(SystemExit):  # which is how Ctrl-C arrives
        screen.say(f"\nThe site and its cluster run on until Ctrl-C.\n\n  admin     {address}")
        screen.say(f"  name      {name}\n  password  {password}")
        signal.pause()


class Story:
    """The messages, the server, and what is seen of them."""

    def __init__(self, server: MailServer, cluster: Popen[bytes], screen: Screen) -> None:
        self._server = server
        self._cluster = cluster
        self._screen = screen
        self._ids: list[str] = []

    def happen(self) -> None:
        """Change the mail server after each of the first two attempts, before the next is due."""
        self._send("Order 7", site.BROKEN)
        self._watch(lambda records: len(records[0].attempts) >= 1)
        self._server.fall_silent()
        self._watch(lambda records: len(records[0].attempts) >= 2)
        self._server.answer()
        self._send("Order 8", site.GREYLISTED)
        self._send("Order 9", site.HEALTHY)
        self._watch(lambda records: all(record.task.is_finished for record in records))
        self._watch(lambda records: bool(self._server.received(settings.ADMIN_EMAIL)))

    def records(self) -> Sequence[Record]:
        """Return the rows of the messages sent, in the order in which they were sent."""
        return read(self._ids)

    def _send(self, subject: str, recipient: str) -> None:
        email = {"subject": subject, "body": "Thank you for your order.", "to": [recipient]}
        self._ids.append(send_email.enqueue(email).id)

    def _watch(self, until: Callable[[Sequence[Record]], bool]) -> None:
        deadline = time.monotonic() + PATIENCE + settings.EMAIL_COUNTDOWN
        while not until(self._look()):
            if self._cluster.poll() is not None or time.monotonic() > deadline:
                raise Stalled
            time.sleep(TICK)

    def _look(self) -> Sequence[Record]:
        records = self.records()
        self._screen.update(records, self._server.news)
        return records
