"""What both stories stand on: the mail server, the cluster, and a way to wait for rows."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from .mail import MailServer
from .screen import Screen

PATIENCE = 300.0  # seconds that a step of a story may take, beside one countdown
TICK = 0.2  # seconds between two looks at the rows: well below the shortest countdown


Fact = tuple[str, object, object]
"""Its name, what is so, and what was meant to be so."""


class Stalled(Exception):
    """The story does not go on: the cluster has ended, or a step takes too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    server: MailServer
    cluster: Popen[bytes]
    log: Path
    screen: Screen
    countdown: float

    def wait_for(self, condition: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait until a condition holds.

        Raises:
            Stalled: the cluster has ended, or it takes longer than `patience` and one countdown.
        """
        deadline = time.monotonic() + patience + self.countdown
        while not condition():
            if self.cluster.poll() is not None or time.monotonic() > deadline:
                raise Stalled
            time.sleep(TICK)

    def is_quiet(self) -> bool:
        """Return whether no Task waits or runs: each failure has been heard, too."""
        from django_retrytasks.models import Task

        return not Task.objects.exclude(run_after=None).exists()


def differences(*facts: Fact) -> list[str]:
    """Return, in words, the facts that are not as they were meant."""
    return [f"{name}: {found}, not {meant}" for name, found, meant in facts if found != meant]
