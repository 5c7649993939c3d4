"""The ordinary story: three messages, and a mail server that fails in three ways."""

from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

from django.conf import settings
from orders.tasks import send_email

from . import site
from .report import show
from .rows import Record, read
from .screen import Screen
from .smtp import Servers
from .stage import Story, order
from .verdict import Evidence, faults


class Plot(Story[Sequence[Record]]):
    """The messages, the server, and what is seen of them."""

    def __init__(self, servers: Servers, cluster: Popen[bytes], screen: Screen, log: Path) -> None:
        super().__init__(servers, cluster, screen, log)
        self._ids: list[str] = []

    def happen(self) -> None:
        """Change the mail server after each of the first two attempts, before the next is due."""
        self._send("Order 7", site.BROKEN)
        self.watch(lambda records: len(records[0].attempts) >= 1)
        self.servers.shop.fall_silent()
        self.watch(lambda records: len(records[0].attempts) >= 2)
        self.servers.shop.answer()
        self._send("Order 8", site.GREYLISTED)
        self._send("Order 9", site.HEALTHY)
        self.watch(lambda records: all(record.task.is_finished for record in records))
        self.watch(lambda records: bool(self.servers.shop.received(settings.ADMIN_EMAIL)))

    def look(self) -> Sequence[Record]:
        """Return the rows of the messages sent, in the order in which they were sent."""
        records = read(self._ids)
        self.screen.update(records, self.servers.shop.news)
        return records

    def end(self) -> Sequence[str]:
        evidence = Evidence(
            records=read(self._ids),
            letters=self.servers.shop.letters,
            log=self.log.read_text(errors="replace"),
        )
        differences = faults(evidence)
        show(evidence, differences, self.screen)
        return differences

    def _send(self, subject: str, recipient: str) -> None:
        self._ids.append(send_email.enqueue(order(subject, recipient)).id)
