"""The tests' site on a host whose clock is wrong: ahead by the seconds that a file tells.

Python's clock, that is: libfaketime does not know how Python 3.13 sleeps and waits.
"""

import time
from datetime import datetime, timedelta
from pathlib import Path

from django.utils import timezone

from tests.settings import *  # noqa: F403
from tests.settings import env

CLOCK = Path(env.str("CLOCK"))
true_time, true_now = time.time, timezone.now


def ahead() -> float:
    return float(CLOCK.read_text())


def wrong_time() -> float:
    return true_time() + ahead()


def wrong_now() -> datetime:
    return true_now() + timedelta(seconds=ahead())


time.time = wrong_time
timezone.now = wrong_now
