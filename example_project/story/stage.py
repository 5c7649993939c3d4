"""What the stories share: the cluster they run on, the look at it, and how they end."""

import signal
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from typing import Any, Generic, TypeVar

from django.conf import settings
from django.utils import timezone

from . import site
from .screen import LiveScreen, PlainScreen, Screen
from .smtp import Servers

PATIENCE = 60.0  # seconds that a step of a story may take
TICK = 0.05  # seconds between two looks at the rows: well below the shortest countdown

Seen = TypeVar("Seen")


class Stalled(Exception):
    """The story does not go on: the cluster has ended, or a step takes too long."""


class Story(ABC, Generic[Seen]):
    """Something that happens to the shop's letters, is seen of them, and can be judged."""

    def __init__(self, servers: Servers, cluster: Popen[bytes], screen: Screen, log: Path) -> None:
        self.servers = servers
        self.screen = screen
        self.log = log
        self._cluster = cluster

    @abstractmethod
    def happen(self) -> None:
        """Have it happen from beginning to end.

        Raises:
            Stalled: it does not get there.
        """

    @abstractmethod
    def look(self) -> Seen:
        """Return how things stand, and show it; called several times a second."""

    @abstractmethod
    def end(self) -> Sequence[str]:
        """Show what has come of it, and return, in words, what was not meant to."""

    def watch(self, until: Callable[[Seen], bool]) -> None:
        """Look until that is so.

        Raises:
            Stalled: the cluster has ended, or it takes too long.
        """
        deadline = time.monotonic() + PATIENCE + settings.EMAIL_COUNTDOWN
        while not until(self.look()):
            if self._cluster.poll() is not None or time.monotonic() > deadline:
                raise Stalled
            time.sleep(TICK)


def tell(kind: type[Story[Any]], servers: Servers, home: Path, *, plain: bool, keep: bool) -> int:
    """Run a story and return the exit code: 0 if the rows tell it as it was meant."""
    screen = new_screen(plain=plain)
    log = home / "cluster.log"
    with site.cluster(log) as cluster:
        story = kind(servers, cluster, screen, log)
        with screen.live(), suppress(Stalled):
            story.happen()
        differences = story.end()
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


def order(subject: str, recipient: str) -> dict[str, Any]:
    """Return the message that `orders.tasks.send_email` is to send."""
    return {"subject": subject, "body": "Thank you for your order.", "to": [recipient]}
